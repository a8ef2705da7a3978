{{/* What no schema can say; each message names the value to change. */}}

{{/* The keys at the top of values.yaml. A test compares the two. */}}
{{- define "walpost.rootKeys" -}}
affinity commonAnnotations commonLabels config connectors database dnsConfig dnsPolicy dropSlotOnDelete envFrom extraContainers extraEnv extraObjects extraRootKeysAllowed extraVolumeMounts extraVolumes fastFailover fullnameOverride global grafanaDashboard hostAliases http image imagePullSecrets initContainers kafka lifecycle livenessProbe memory minReadySeconds nameOverride namespaceOverride networkPolicy nodeSelector podAnnotations podDisruptionBudget podLabels podMonitor podSecurityContext preflight priorityClassName prometheusRule readinessProbe replicaCount resources revisionHistoryLimit runtimeClassName schedulerName secretsAs securityContext service serviceAccount serviceMonitor startupProbe terminationGracePeriodSeconds tests tolerations topologySpreadConstraints updateStrategy
{{- end -}}

{{/* What other charts call the same. */}}
{{- define "walpost.otherNames" -}}
command: image
containerSecurityContext: securityContext
deploymentStrategy: updateStrategy
env: config
environment: config
existingSecret: database.existingSecret
extraDeploy: extraObjects
extraEnvVars: extraEnv
extraEnvVarsCM: envFrom
extraEnvVarsSecret: envFrom
extraManifests: extraObjects
lifecycleHooks: lifecycle
metrics: podMonitor
pdb: podDisruptionBudget
postgres: database
postgresql: database
replicas: replicaCount
sidecars: extraContainers
strategy: updateStrategy
{{- end -}}

{{/* The known key that is most like an unknown one, by the pairs of letters they share. */}}
{{- define "walpost.like" -}}
{{- $unknown := lower . -}}
{{- $best := "" -}}
{{- $score := 49 -}}
{{- range $key := splitList " " (include "walpost.rootKeys" . | trim) -}}
{{- $known := lower $key -}}
{{- $shared := 0 -}}
{{- range $at := until (int (max 0 (sub (len $unknown) 1))) -}}
{{- if contains (substr $at (int (add $at 2)) $unknown) $known }}{{ $shared = add1 $shared }}{{ end -}}
{{- end -}}
{{- $likeness := div (mul 200 $shared) (max 1 (sub (add (len $unknown) (len $known)) 2)) -}}
{{- if gt (int $likeness) (int $score) }}{{ $best = $key }}{{ $score = $likeness }}{{ end -}}
{{- end -}}
{{- $best -}}
{{- end -}}

{{- define "walpost.checkRoot" -}}
{{- $known := splitList " " (include "walpost.rootKeys" . | trim) -}}
{{- $others := include "walpost.otherNames" . | fromYaml -}}
{{- range $key, $value := .Values -}}
{{- if not (or (has $key $known) (has $key $.Values.extraRootKeysAllowed) (hasPrefix "x-" $key)) -}}
{{- $hint := default (include "walpost.like" $key) (get $others $key) -}}
{{- $hint = ternary (printf "; did you mean `%s`?" $hint) "" (ne $hint "") -}}
{{- if or (hasPrefix "WALPOST_" $key) (hasPrefix "KAFKA_" $key) (hasPrefix "PG" $key) }}{{ $hint = printf "; variables of walpost belong under `config`: config.%s" $key }}{{ end -}}
{{- fail (printf "unknown value `%s`%s (a key that other charts need goes into extraRootKeysAllowed)" $key $hint) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "walpost.check" -}}
{{- $at := ternary (printf "connectors.%s." .connector) "" (ne .connector "") -}}
{{- $database := .Values.database -}}
{{- $kafka := .Values.kafka -}}
{{- if not (or $database.existingSecret $database.host) -}}
{{- fail (printf "%sdatabase.existingSecret is required: the name of a Secret with the connection (or database.host, and the password by other means)" $at) -}}
{{- end -}}
{{- if and (eq $database.secretPreset "zalando") (not (and $database.host $database.name)) -}}
{{- fail (printf "%sdatabase.secretPreset zalando: its Secrets have user and password only; set database.host and database.name" $at) -}}
{{- end -}}
{{- if and (or $database.host $database.secretKeys.host) $database.secretKeys.uri -}}
{{- fail (printf "%sdatabase: either a host or secretKeys.uri, not both" $at) -}}
{{- end -}}
{{- if and (or $database.name $database.user) (not (or $database.host $database.secretKeys.host)) -}}
{{- fail (printf "%sdatabase.name and database.user go with database.host; in a URL they have no effect" $at) -}}
{{- end -}}
{{- if not $kafka.bootstrapServers -}}
{{- fail (printf "%skafka.bootstrapServers is required: host:port, a comma between several" $at) -}}
{{- end -}}
{{- if and (ne $kafka.secretPreset "msk-iam") $kafka.secretPreset (not $kafka.existingSecret) -}}
{{- fail (printf "%skafka.existingSecret is required with kafka.secretPreset %s" $at $kafka.secretPreset) -}}
{{- end -}}
{{- if and (hasPrefix "strimzi" $kafka.secretPreset) (not (include "walpost.kafkaCa" .)) -}}
{{- fail (printf "%skafka.caSecret.name is required with kafka.secretPreset %s: <cluster>-cluster-ca-cert (it cannot be told from kafka.bootstrapServers)" $at $kafka.secretPreset) -}}
{{- end -}}
{{- range $name := list "DATABASE_URL" "PGHOST" "PGPORT" "PGDATABASE" "PGUSER" "PGPASSWORD" "PGSSLMODE" "KAFKA_BOOTSTRAP_SERVERS" "KAFKA_SECURITY_PROTOCOL" "KAFKA_SASL_MECHANISM" "KAFKA_SASL_USERNAME" "KAFKA_SASL_PASSWORD" "WALPOST_HTTP_ADDR" "WALPOST_HTTP_USERNAME" "WALPOST_HTTP_PASSWORD" -}}
{{- range $name := list $name (printf "%s_FILE" $name) -}}
{{- if hasKey $.Values.config $name -}}
{{- fail (printf "%sconfig.%s: the chart sets this variable itself; use the values under database, kafka or http" $at $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.config -}}
{{- if and (hasPrefix "KAFKA_PROP_" $name) (hasKey $kafka.properties (trimPrefix "KAFKA_PROP_" $name | lower | replace "_" ".")) -}}
{{- fail (printf "%sconfig.%s is also in kafka.properties: one of them" $at $name) -}}
{{- end -}}
{{- end -}}
{{- $least := add (include "walpost.shutdownSeconds" . | trim | atoi) 5 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
{{- fail (printf "%sterminationGracePeriodSeconds is %d, at least %d is needed: WALPOST_SHUTDOWN_TIMEOUT and five seconds, or Kubernetes kills walpost while it drains" $at (int .Values.terminationGracePeriodSeconds) (int $least)) -}}
{{- end -}}
{{- if lt (include "walpost.bytes" (dict "name" (printf "%smemory" $at) "value" .Values.memory) | int64) (int64 134217728) -}}
{{- fail (printf "%smemory is %v, at least 128Mi is needed" $at .Values.memory) -}}
{{- end -}}
{{- if dig "limits" "memory" "" .Values.resources -}}
{{- fail (printf "%sresources.limits.memory: set memory instead, WALPOST_MAX_IN_FLIGHT follows from it" $at) -}}
{{- end -}}
{{- with .Values.config.WALPOST_MAX_IN_FLIGHT -}}
{{- $wanted := include "walpost.bytes" (dict "name" "config.WALPOST_MAX_IN_FLIGHT" "value" .) | int64 -}}
{{- if gt $wanted (include "walpost.inFlightBytes" $ | int64) -}}
{{- fail (printf "%sconfig.WALPOST_MAX_IN_FLIGHT is %v, which needs more memory than %v: at least %dMi" $at . $.Values.memory (add 128 (div (add (mul $wanted 8) 1048575) 1048576))) -}}
{{- end -}}
{{- end -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- if and $budget.enabled (not (kindIs "string" $budget.minAvailable)) -}}
{{- if ge (int $budget.minAvailable) (int .Values.replicaCount) -}}
{{- fail (printf "%spodDisruptionBudget.minAvailable is %v of %v replicas: no node could be drained; use maxUnavailable" $at $budget.minAvailable .Values.replicaCount) -}}
{{- end -}}
{{- end -}}
{{- end -}}
