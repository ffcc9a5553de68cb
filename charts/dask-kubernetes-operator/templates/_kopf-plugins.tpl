{{/* Names, labels and rights of what runs plugins for kopf. */}}

{{- define "dask-kubernetes-operator.kopfPluginsName" -}}
{{- include "dask-kubernetes-operator.fullname" . | trunc 50 | trimSuffix "-" }}-kopf-plugins
{{- end }}

{{/* An account of its own: plugins have no share in the operator's rights. */}}
{{- define "dask-kubernetes-operator.kopfPluginsAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- include "dask-kubernetes-operator.serviceAccountName" . | trunc 50 | trimSuffix "-" }}-kopf-plugins
{{- else }}
{{- include "dask-kubernetes-operator.serviceAccountName" . }}
{{- end }}
{{- end }}

{{/* Other ones than the operator's, whose Deployment, Service and budget would take these pods for their own. */}}
{{- define "dask-kubernetes-operator.kopfPluginsSelectorLabels" -}}
app.kubernetes.io/name: {{ include "dask-kubernetes-operator.name" . | trunc 50 | trimSuffix "-" }}-kopf-plugins
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dask-kubernetes-operator.kopfPluginsLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "dask-kubernetes-operator.kopfPluginsSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "dask-kubernetes-operator.kopfPluginsImage" -}}
{{- with .Values.kopfPlugins.image }}
{{- .name }}{{ with .tag }}:{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.kopfPluginsRules" -}}
# what handlers may be for, and where kopf keeps in annotations what it has handled
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters, daskworkergroups, daskjobs, daskautoscalers]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [pods, services]
  verbs: [list, watch, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, patch]
# what handlers tell
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- with .Values.kopfPlugins.rules }}
{{ toYaml . }}
{{- end }}
{{- end }}
