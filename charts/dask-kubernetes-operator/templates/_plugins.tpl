{{/* The configuration of the plugins, as `run --plugins` reads it: the values without what is for Kubernetes alone. */}}
{{- define "dask-kubernetes-operator.plugins" -}}
{{- $plugins := list }}
{{- range .Values.plugins }}
{{- $plugin := omit . "container" "clientCertificateSecret" }}
{{- with ternary "" .clientCertificateSecret (default false .removed) }}
{{- $folder := printf "/etc/dask-operator/plugin-certificates/%s" . }}
{{- $files := dict "certificate" (printf "%s/tls.crt" $folder) "key" (printf "%s/tls.key" $folder) }}
{{- $plugin = set $plugin "clientCertificate" $files }}
{{- end }}
{{- $plugins = append $plugins $plugin }}
{{- end }}
{{- toYaml (dict "plugins" $plugins) }}
{{- end }}

{{/* The Secrets with the operator's certificates for plugins, each once, as a list in JSON. */}}
{{- define "dask-kubernetes-operator.pluginSecrets" -}}
{{- $secrets := list }}
{{- range .Values.plugins }}
{{- with ternary "" .clientCertificateSecret (default false .removed) }}
{{- $secrets = append $secrets . }}
{{- end }}
{{- end }}
{{- uniq $secrets | toJson }}
{{- end }}

{{/* The rights that the operator needs for plugins: to make what they add, and to read what they are shown. */}}
{{- define "dask-kubernetes-operator.pluginRules" -}}
{{- range $plugin := .Values.plugins }}
{{- range $plugin.kinds }}
# plugin {{ $plugin.name }} adds {{ .kind }}
- apiGroups: [{{ include "dask-kubernetes-operator.group" . }}]
  resources: [{{ .plural }}]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if and $plugin.kinds (has "DaskJob" (default list $plugin.parents)) }}
# of what plugin {{ $plugin.name }} adds to a job the kinds are noted on the job
- apiGroups: [kubernetes.dask.org]
  resources: [daskjobs]
  verbs: [patch]
{{- end }}
{{- range $plugin.related }}
# plugin {{ $plugin.name }} is shown {{ .kind }}
- apiGroups: [{{ include "dask-kubernetes-operator.group" . }}]
  resources: [{{ .plural }}]
  verbs: [list, watch]
{{- end }}
{{- end }}
{{- end }}

{{/* The API group of an apiVersion. */}}
{{- define "dask-kubernetes-operator.group" -}}
{{- if contains "/" .apiVersion }}{{ splitList "/" .apiVersion | first }}{{ else }}""{{ end }}
{{- end }}
