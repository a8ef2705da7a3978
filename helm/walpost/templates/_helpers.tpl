{{/*
Most templates are written for one connector. What they get is a context like the chart's own, with
that connector's values under .Values, its key under .connector ("" without `connectors`), and the
chart's context under .root.
*/}}

{{/* Lays `from` over `to`, in place. Unlike mergeOverwrite it takes false, 0 and "" as values, and null removes. */}}
{{- define "walpost.overlay" -}}
{{- $to := .to -}}
{{- range $key, $value := .from -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $to $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (index $to $key)) -}}
{{- include "walpost.overlay" (dict "to" (index $to $key) "from" $value) -}}
{{- else -}}
{{- $_ := set $to $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Every connector's values by its key, as YAML; without `connectors` one, with the key "". */}}
{{- define "walpost.connectors" -}}
{{- $base := omit .Values "connectors" -}}
{{- $all := dict -}}
{{- range $key, $own := .Values.connectors -}}
{{- $values := deepCopy $base -}}
{{- include "walpost.overlay" (dict "to" $values "from" (default dict $own)) -}}
{{- $_ := set $all $key $values -}}
{{- end -}}
{{- if not $all -}}
{{- $_ := set $all "" $base -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/*
Renders a template for each connector: list (the chart's context) (the template's name). A document
that comes out empty leaves nothing behind.
*/}}
{{- define "walpost.each" -}}
{{- $root := index . 0 -}}
{{- $template := index . 1 -}}
{{- include "walpost.checkRoot" $root -}}
{{- range $key, $values := include "walpost.connectors" $root | fromYaml }}
{{- $context := dict "Values" $values "Chart" $root.Chart "Release" $root.Release "Capabilities" $root.Capabilities "Template" $root.Template "Files" $root.Files "connector" $key "root" $root }}
{{- with include $template $context | trim }}
---
{{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "walpost.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "walpost.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* A name of at most 63 characters, as a DNS label may have; a longer one keeps apart by a digest of the whole. */}}
{{- define "walpost.short" -}}
{{- if gt (len .) 63 -}}
{{- printf "%s-%s" (trunc 54 . | trimSuffix "-" | trimSuffix ".") (sha256sum . | trunc 8) -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The release's name, or the chart's in it. */}}
{{- define "walpost.fullname" -}}
{{- $name := include "walpost.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of a connector's objects. */}}
{{- define "walpost.objectName" -}}
{{- if .connector -}}
{{- include "walpost.short" (printf "%s-%s" (include "walpost.fullname" .root) .connector) -}}
{{- else -}}
{{- include "walpost.fullname" . -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods: may never change, so it holds no version. */}}
{{- define "walpost.selectorLabels" -}}
app.kubernetes.io/name: {{ include "walpost.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- if .connector }}
walpost/connector: {{ .connector }}
{{- end }}
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

{{/* metadata of an object: dict "context" (a context) and, all optional, "name" "namespace" "labels" "annotations". */}}
{{- define "walpost.metadata" -}}
{{- $annotations := merge dict (default dict .annotations) (default dict .context.Values.commonAnnotations) -}}
name: {{ default (include "walpost.objectName" .context) .name }}
namespace: {{ default (include "walpost.namespace" .context) .namespace }}
labels:
  {{- include "walpost.labels" .context | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* One account for all connectors. */}}
{{- define "walpost.serviceAccountName" -}}
{{- $context := default . .root -}}
{{- if $context.Values.serviceAccount.create -}}
{{- default (include "walpost.fullname" $context) $context.Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" $context.Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "walpost.image" -}}
{{- $image := .Values.image -}}
{{- with default $image.registry .Values.global.imageRegistry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "walpost.imagePullSecrets" -}}
{{- with concat (default list .Values.global.imagePullSecrets) .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Helm reads 1000000 as a fraction and would print 1e+06. */}}
{{- define "walpost.number" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* A duration of walpost's, in whole seconds, rounded up. */}}
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

{{/* A size as Kubernetes or walpost writes it, in bytes: dict "name" "value". */}}
{{- define "walpost.bytes" -}}
{{- $text := include "walpost.number" .value -}}
{{- if not (regexMatch "^[0-9]+(k|[KMGT]i?|[kKMGT]i?B|B)?$" $text) -}}
{{- fail (printf "%s is %q: a whole number and a unit, as 256Mi" .name $text) -}}
{{- end -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[A-Za-z]*$" $text | trimSuffix "B" | upper -}}
{{- $powers := dict "" 0 "K" 1 "M" 2 "G" 3 "T" 4 -}}
{{- $base := ternary 1024 1000 (hasSuffix "I" $unit) -}}
{{- range until (int (get $powers (trimSuffix "I" $unit))) }}{{ $number = mul $number $base }}{{ end -}}
{{- $number -}}
{{- end -}}

{{/*
WALPOST_MAX_IN_FLIGHT in bytes: an eighth of what the memory has over 128 MiB, at least 1 MiB. That
leaves room for librdkafka's copies and for connections to many brokers. Measured with Kafka frozen:
17 MiB resident when idle, 50 MiB with 16 MiB in flight.
*/}}
{{- define "walpost.inFlightBytes" -}}
{{- $memory := include "walpost.bytes" (dict "name" "memory" "value" .Values.memory) | int64 -}}
{{- max 1048576 (div (sub $memory 134217728) 8) -}}
{{- end -}}

{{/* The connector's name, unique in the Kafka cluster: namespace, release, key. */}}
{{- define "walpost.connectorName" -}}
{{- if hasKey .Values.config "WALPOST_NAME" -}}
{{- .Values.config.WALPOST_NAME -}}
{{- else -}}
{{- $parts := list (include "walpost.namespace" .) .Release.Name -}}
{{- if .connector }}{{ $parts = append $parts .connector }}{{ end -}}
{{- include "walpost.short" (join "." $parts) -}}
{{- end -}}
{{- end -}}

{{/* The connector's slot; with shards there are several: <slot>_0 and so on. */}}
{{- define "walpost.slot" -}}
{{- default "walpost" .Values.config.WALPOST_SLOT -}}
{{- end -}}
