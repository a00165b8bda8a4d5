{{/* The name of everything in the release, cut to what a label takes. */}}
{{- define "mayfly.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "mayfly.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "mayfly.name" .) }}
{{- end }}

{{/* What a DaemonSet selects by, which can never change. */}}
{{- define "mayfly.selector" -}}
app.kubernetes.io/name: mayfly
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mayfly.labels" -}}
{{ include "mayfly.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The pods of the CSI driver are no agents: nothing that selects those takes them. */}}
{{- define "mayfly.csiSelector" -}}
app.kubernetes.io/name: spiffe-csi-driver
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Called with an image of the values, and the tag that it has unless one is said. */}}
{{- define "mayfly.image" -}}
{{- $image := index . 0 }}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (index . 1) }}
{{- end }}
{{- end }}

{{/* On which nodes the pods of a DaemonSet are, and as what: those of the CSI driver are where agents are. */}}
{{- define "mayfly.placement" -}}
priorityClassName: {{ .Values.priorityClassName }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  seccompProfile:
    type: RuntimeDefault
  {{- with .Values.seLinuxOptions }}
  seLinuxOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/*
The configuration file. The admin socket is not beside the other: whoever mounts that directory and runs as root could use it. No path of
a pod's program leads the agent to that program.
*/}}
{{- define "mayfly.config" -}}
{{- $k8s := dict "enabled" true "kubelet_secure_port" (int .Values.kubelet.port) }}
{{- if .Values.kubelet.skipVerification }}
{{- $_ := set $k8s "skip_kubelet_verification" true }}
{{- else if .Values.kubelet.caFile }}
{{- $_ := set $k8s "kubelet_ca_path" "/etc/mayfly/kubelet-ca.crt" }}
{{- end }}
{{- if .Values.namespaceLabels }}
{{- $_ := set $k8s "enable_namespace_labels" true }}
{{- end }}
{{- $config := dict
  "trust_domain" .Values.trustDomain
  "socket" "/run/mayfly/api.sock"
  "admin_socket" "/run/mayfly-admin/admin.sock"
  "data_dir" "/var/lib/mayfly"
  "entries" (list "../entries/*.yaml")
  "attestors" (dict "k8s" $k8s "unix" (dict "path" false))
}}
{{- if .Values.metrics.enabled }}
{{- $address := ternary "127.0.0.1" "0.0.0.0" .Values.hostNetwork }}
{{- $_ := set $config "metrics" (dict "listen" (printf "%s:%d" $address (int .Values.metrics.port)) "allow_remote" (not .Values.hostNetwork)) }}
{{- end }}
{{- mergeOverwrite $config (deepCopy .Values.config) | toYaml }}
{{- end }}

{{- define "mayfly.entries" -}}
{{- $entries := list }}
{{- if .Values.serviceAccountIdentities.enabled }}
{{- $id := printf "spiffe://%s/ns/{{k8s.ns}}/sa/{{k8s.sa}}" .Values.trustDomain }}
{{- $entries = append $entries (merge (dict "id" "service-accounts" "spiffe_id" $id) .Values.serviceAccountIdentities.entry) }}
{{- end }}
{{- dict "entries" (concat $entries .Values.entries) | toYaml }}
{{- end }}

{{/* How the kubelet asks the agent, over HTTP where it is served. Called with the root and a path. */}}
{{- define "mayfly.probe" -}}
{{- $root := index . 0 }}
{{- if $root.Values.metrics.enabled -}}
httpGet:
  path: {{ index . 1 }}
  port: metrics
  {{- if $root.Values.hostNetwork }}
  host: 127.0.0.1
  {{- end }}
{{- else -}}
exec:
  command: [mayfly, healthcheck]
{{- end }}
{{- end }}
