{{/* What the values say to the operator by its environment; only what differs from the operator's own defaults. */}}
{{- define "dask-kubernetes-operator.env" -}}
{{- with .Values.workerAllocation.size }}
- name: DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__BATCH_SIZE
  value: {{ toString . | quote }}
{{- end }}
{{- with .Values.workerAllocation.delay }}
- name: DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__DELAY
  value: {{ toString . | quote }}
{{- end }}
{{- if not .Values.events.enabled }}
- name: DASK_KUBERNETES__CONTROLLER__EVENTS__ENABLED
  value: "false"
{{- end }}
{{- with .Values.workerCarrier }}
- name: DASK_OPERATOR_WORKER_CARRIER
  value: {{ . | quote }}
{{- end }}
{{- with .Values.clusterDomain }}
- name: DASK_OPERATOR_CLUSTER_DOMAIN
  value: {{ . | quote }}
{{- end }}
{{- if not .Values.istioLabel }}
- name: DASK_OPERATOR_NO_ISTIO_LABEL
  value: "true"
{{- end }}
{{- if not .Values.rbac.cluster }}
# Nothing of cluster scope may be read, so nothing of it is asked for.
- name: DASK_OPERATOR_READ_DEFINITIONS
  value: "false"
{{- end }}
{{- end }}
