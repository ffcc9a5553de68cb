//! Text as two clusters can print it: without what each chooses itself.

use std::sync::LazyLock;

use regex::Regex;

/// Patterns, and what stands for them; in this order.
static TEXTS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "TIME"),
        (r"/tmp/(LIVE|MERGED)-\d+/", "/tmp/$1/"),
        (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
        // The beginning of a line of the client's log.
        (r"^([EWI])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", "$1 "),
        (r"https?://127\.0\.0\.1:\d+", "SERVER"),
        (r"127\.0\.0\.1:\d+", "SERVER"),
        (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-MADE"),
        (r"10\.96\.\d+\.\d+", "ADDRESS"),
        (r"(80:|NodePort: +<unset> +)3\d{4}(/TCP)", "${1}PORT$2"),
        (r#"(resourceVersion"?: ")\d+""#, "${1}REVISION\""),
        (r"^( *Resource Version: +)\d+$", "${1}REVISION"),
        // Suffixes of made names: an alphabet without vowels.
        (r"-[bcdfghjklmnpqrstvwxz2456789]{8,10}\b", "-HASH"),
        (r"(pod-template-hash[=:] ?)[bcdfghjklmnpqrstvwxz2456789]{8,10}\b", "${1}HASH"),
        (r"-HASH-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-HASH-MADE"),
        // Ages, at the end of a column.
        (r"(^|\s)(\d+[smhd])+(\s|$)", "${1}AGE$3"),
        (
            r#""(gitVersion|gitCommit|gitTreeState|buildDate|goVersion|compiler|platform)": "[^"]*""#,
            "\"$1\": \"…\"",
        ),
        // Columns are as wide as what is in them.
        (r"(\S) {2,}", "$1  "),
        (r"-{4,}", "----"),
        (r"\s+$", ""),
    ]
    .map(|(pattern, stands)| (Regex::new(pattern).unwrap(), stands))
    .into()
});

/// The lines of a text.
pub(crate) fn normal(text: &str) -> Vec<String> {
    let line = |line: &str| {
        TEXTS
            .iter()
            .fold(line.to_owned(), |line, (pattern, stands)| pattern.replace_all(&line, *stands).into_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn what_a_cluster_chooses_is_named() {
    let line = "web-6d8f7c9b5d-x7k2p   0/1     Pending   0          12s   app=web";
    assert_eq!(normal(line), ["web-HASH-MADE  0/1  Pending  0  AGE  app=web"]);
    assert_eq!(normal("  resourceVersion: \"123\""), ["  resourceVersion: \"REVISION\""]);
}
