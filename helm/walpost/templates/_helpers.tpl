{{/* The release's name, or the chart's in it; 63 characters, as a DNS label may have. */}}
{{- define "walpost.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods: may never change, so it holds no version. */}}
{{- define "walpost.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "walpost.labels" -}}
{{ include "walpost.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "walpost.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "walpost.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "walpost.image" -}}
{{- $image := .Values.image -}}
{{- if $image.registry }}{{ $image.registry }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{/* WALPOST_SHUTDOWN_TIMEOUT in whole seconds, rounded up. */}}
{{- define "walpost.shutdownSeconds" -}}
{{- $text := default "25s" .Values.config.WALPOST_SHUTDOWN_TIMEOUT | toString -}}
{{- if not (regexMatch "^[0-9]+(ms|s|m|h)$" $text) -}}
{{- fail (printf "config.WALPOST_SHUTDOWN_TIMEOUT is %q: a whole number and a unit, as 25s" $text) -}}
{{- end -}}
{{- $number := regexFind "^[0-9]+" $text | atoi -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- if eq $unit "ms" -}}{{ div (add $number 999) 1000 }}
{{- else if eq $unit "s" -}}{{ $number }}
{{- else if eq $unit "m" -}}{{ mul $number 60 }}
{{- else -}}{{ mul $number 3600 }}
{{- end -}}
{{- end -}}

{{/* What no schema can say; each message names the value to change. */}}
{{- define "walpost.check" -}}
{{- if not .Values.database.existingSecret -}}
{{- fail "database.existingSecret is required: the name of a Secret with the connection URL under database.secretKeys.uri" -}}
{{- end -}}
{{- if not .Values.kafka.bootstrapServers -}}
{{- fail "kafka.bootstrapServers is required: host:port, a comma between several" -}}
{{- end -}}
{{- range $name := list "DATABASE_URL" "DATABASE_URL_FILE" "KAFKA_BOOTSTRAP_SERVERS" "KAFKA_SECURITY_PROTOCOL" "KAFKA_SASL_MECHANISM" "WALPOST_HTTP_ADDR" -}}
{{- if hasKey $.Values.config $name -}}
{{- fail (printf "config.%s: the chart sets this variable itself; use database, kafka or nothing" $name) -}}
{{- end -}}
{{- end -}}
{{- $least := add (include "walpost.shutdownSeconds" . | trim | atoi) 5 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, at least %d is needed: WALPOST_SHUTDOWN_TIMEOUT and five seconds, or Kubernetes kills walpost while it drains" (int .Values.terminationGracePeriodSeconds) (int $least)) -}}
{{- end -}}
{{- end -}}
