{{/* The chart's name, or what replaces it. At most 63 characters: it is a label. */}}
{{- define "dask-kubernetes-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of most objects: the release's name, with the chart's in it. */}}
{{- define "dask-kubernetes-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Of the Service and the ServiceMonitor. A Service's name has at most 63 characters. */}}
{{- define "dask-kubernetes-operator.metricsName" -}}
{{- include "dask-kubernetes-operator.fullname" . | trunc 55 | trimSuffix "-" }}-metrics
{{- end }}

{{/* Of the ConfigMap with the configuration of the plugins. */}}
{{- define "dask-kubernetes-operator.pluginsName" -}}
{{- include "dask-kubernetes-operator.fullname" . | trunc 55 | trimSuffix "-" }}-plugins
{{- end }}

{{/* Whether a leader is elected: two operators that know nothing of each other would both act on what they see. */}}
{{- define "dask-kubernetes-operator.elects" -}}
{{- if or .Values.leaderElection.enabled (gt (int .Values.replicas) 1) }}true{{ end }}
{{- end }}

{{/* What the Deployment selects by. It can never be changed, so nothing may be added. */}}
{{- define "dask-kubernetes-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dask-kubernetes-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dask-kubernetes-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "dask-kubernetes-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "dask-kubernetes-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "dask-kubernetes-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.image" -}}
{{ .Values.image.name }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The namespaces that `kopfArgs` names, as {"namespaces": […]}: `--namespace=a,b`, `--namespace a`, `-n a`, `-n=a`, `-na`. */}}
{{- define "dask-kubernetes-operator.namespaces" -}}
{{- $found := list }}
{{- $next := false }}
{{- range .Values.kopfArgs }}
{{- $argument := toString . }}
{{- $value := "" }}
{{- if $next }}
{{- $value = $argument }}
{{- else if hasPrefix "--namespace=" $argument }}
{{- $value = trimPrefix "--namespace=" $argument }}
{{- else if and (hasPrefix "-n" $argument) (ne $argument "-n") }}
{{- $value = trimPrefix "-n" $argument | trimPrefix "=" }}
{{- end }}
{{- $next = and (not $next) (has $argument (list "-n" "--namespace")) }}
{{- range splitList "," $value }}
{{- with trim . }}
{{- $found = append $found . }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "namespaces" (uniq $found) | toJson }}
{{- end }}

{{/* The role's rules where the API server checks who may block the deletion of an owner, as OpenShift's does. */}}
{{- define "dask-kubernetes-operator.allRules" -}}
{{ include "dask-kubernetes-operator.rules" . }}
{{- include "dask-kubernetes-operator.pluginRules" . }}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{ include "dask-kubernetes-operator.blockingRules" . }}
{{- end }}
{{- end }}
