{{/* What the relay, `helm test` and the preflight have in common: image, variables, Secrets, security. */}}
{{- define "walpost.container" -}}
image: {{ include "walpost.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "walpost.env" . | trim | nindent 2 }}
{{- with .Values.envFrom }}
envFrom:
  {{- tpl (toYaml .) $ | nindent 2 }}
{{- end }}
resources:
  {{- $resources := deepCopy .Values.resources }}
  {{- $_ := set $resources "limits" (merge (dict "memory" .Values.memory) (default dict $resources.limits)) }}
  {{- toYaml $resources | nindent 2 }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
# A wrong configuration is told on standard error: `kubectl describe pod` then shows it.
terminationMessagePolicy: FallbackToLogsOnError
{{- $credentials := include "walpost.credentialsVolume" . | trim }}
{{- if or $credentials .Values.extraVolumeMounts }}
volumeMounts:
  {{- if $credentials }}
  - name: credentials
    mountPath: {{ include "walpost.credentialsPath" . }}
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- tpl (toYaml .) $ | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Where a pod runs and as whom. */}}
{{- define "walpost.pod" -}}
serviceAccountName: {{ include "walpost.serviceAccountName" . }}
automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
# Kubernetes' variables for services would look like misspelt ones of ours.
enableServiceLinks: false
{{- include "walpost.imagePullSecrets" . }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $credentials := include "walpost.credentialsVolume" . | trim }}
{{- if or $credentials .Values.extraVolumes }}
volumes:
  {{- with $credentials }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- tpl (toYaml .) $ | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.fastFailover .Values.tolerations }}
tolerations:
  {{- if .Values.fastFailover }}
  {{- range $taint := list "not-ready" "unreachable" }}
  - key: node.kubernetes.io/{{ $taint }}
    operator: Exists
    effect: NoExecute
    tolerationSeconds: 30
  {{- end }}
  {{- end }}
  {{- with .Values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . | quote }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Labels of the pods of hooks: no selector of the relay's pods may match them. */}}
{{- define "walpost.hookLabels" -}}
app.kubernetes.io/name: {{ printf "%s-hook" (include "walpost.name" . | trunc 58) }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
