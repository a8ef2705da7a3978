{{/*
Which keys of which Secrets become which variables. A preset says how an operator lays its Secrets
out:
- CloudNativePG, `<cluster>-app`: `uri` (and host, port, dbname, username, password); the authority
  is `ca.crt` of `<cluster>-ca`. https://cloudnative-pg.io/documentation/current/applications/
- Crunchy's PGO, `<cluster>-pguser-<user>`: `uri` (and host, port, dbname, user, password); the
  authority is `ca.crt` of `<cluster>-cluster-cert`.
  https://access.crunchydata.com/documentation/postgres-operator/latest/tutorials/basic-setup/connect-cluster
- Zalando's, `<user>.<cluster>.credentials.postgresql.acid.zalan.do`: username and password only; the
  server signs its own certificate unless told otherwise, so it cannot be verified.
- Strimzi's KafkaUser: `password` for SCRAM (the user's name is the Secret's), or `user.crt` and
  `user.key`; the authority is `ca.crt` of `<cluster>-cluster-ca-cert`.
  https://strimzi.io/docs/operators/latest/deploying#con-securing-client-authentication-str
*/}}

{{/* Where Secrets are mounted. */}}
{{- define "walpost.credentialsPath" -}}/etc/walpost/credentials{{- end -}}

{{/* The Secret's keys, as YAML: uri, or host, port, dbname, username, password; absent: not in the Secret. */}}
{{- define "walpost.databaseKeys" -}}
{{- $database := .Values.database -}}
{{- $preset := $database.secretPreset -}}
{{- $keys := dict -}}
{{- range $part, $key := $database.secretKeys }}{{ if $key }}{{ $_ := set $keys $part $key }}{{ end }}{{ end -}}
{{- if not $database.existingSecret -}}
{{- $keys = dict -}}
{{- else if or $database.host $keys.host -}}
{{- $_ := set $keys "username" (default (ternary "user" "username" (eq $preset "crunchy")) $keys.username) -}}
{{- $_ := set $keys "password" (default "password" $keys.password) -}}
{{- if or $database.user }}{{ $_ := unset $keys "username" }}{{ end -}}
{{- if $database.host }}{{ $_ := unset $keys "host" }}{{ end -}}
{{- if ne (toString $database.port) "" }}{{ $_ := unset $keys "port" }}{{ end -}}
{{- if $database.name }}{{ $_ := unset $keys "dbname" }}{{ end -}}
{{- else -}}
{{- $_ := set $keys "uri" (default "uri" $keys.uri) -}}
{{- $keys = pick $keys "uri" -}}
{{- end -}}
{{- toYaml $keys -}}
{{- end -}}

{{/* Secret with the authority of Postgres; empty: the system's. */}}
{{- define "walpost.databaseCa" -}}
{{- $database := .Values.database -}}
{{- $secret := tpl $database.existingSecret . -}}
{{- if $database.caSecret.name -}}
{{- tpl $database.caSecret.name . -}}
{{- else if and (eq $database.secretPreset "cnpg") (regexMatch "-(app|superuser)$" $secret) -}}
{{- regexReplaceAll "-(app|superuser)$" $secret "-ca" -}}
{{- else if and (eq $database.secretPreset "crunchy") (contains "-pguser-" $secret) -}}
{{- regexReplaceAll "-pguser-.*$" $secret "-cluster-cert" -}}
{{- end -}}
{{- end -}}

{{/* Secret with the authority of Kafka; empty: the system's. */}}
{{- define "walpost.kafkaCa" -}}
{{- $kafka := .Values.kafka -}}
{{- if $kafka.caSecret.name -}}
{{- tpl $kafka.caSecret.name . -}}
{{- else if hasPrefix "strimzi" $kafka.secretPreset -}}
{{- with regexFind "^[a-z0-9-]+-kafka-bootstrap" (tpl $kafka.bootstrapServers .) -}}
{{- trimSuffix "-kafka-bootstrap" . -}}-cluster-ca-cert
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the preset and the values say of Kafka, as YAML: protocol, mechanism, username, usernameKey, passwordKey, certificate. */}}
{{- define "walpost.kafkaAccess" -}}
{{- $kafka := .Values.kafka -}}
{{- $secret := tpl $kafka.existingSecret . -}}
{{- $access := dict "protocol" "" "mechanism" "" -}}
{{- if eq $kafka.secretPreset "strimzi-scram" -}}
{{- $access = dict "protocol" "SASL_SSL" "mechanism" "SCRAM-SHA-512" "username" $secret -}}
{{- else if eq $kafka.secretPreset "strimzi-tls" -}}
{{- $access = dict "protocol" "SSL" "mechanism" "" "certificate" (dict "name" $secret "certKey" "user.crt" "keyKey" "user.key") -}}
{{- else if eq $kafka.secretPreset "confluent" -}}
{{- $access = dict "protocol" "SASL_SSL" "mechanism" "PLAIN" -}}
{{- else if eq $kafka.secretPreset "msk-scram" -}}
{{- $access = dict "protocol" "SASL_SSL" "mechanism" "SCRAM-SHA-512" -}}
{{- else if eq $kafka.secretPreset "msk-iam" -}}
{{- $access = dict "protocol" "SASL_SSL" "mechanism" "AWS_MSK_IAM" -}}
{{- end -}}
{{- if $kafka.clientCertSecret.name -}}
{{- $_ := set $access "certificate" (dict "name" (tpl $kafka.clientCertSecret.name .) "certKey" $kafka.clientCertSecret.certKey "keyKey" $kafka.clientCertSecret.keyKey) -}}
{{- end -}}
{{- $_ := set $access "protocol" (default $access.protocol $kafka.securityProtocol) -}}
{{- $_ := set $access "mechanism" (default $access.mechanism $kafka.saslMechanism) -}}
{{- if and $secret (ne $kafka.secretPreset "strimzi-tls") -}}
{{- if or $kafka.secretKeys.username (not $access.username) -}}
{{- $_ := unset $access "username" -}}
{{- $_ := set $access "usernameKey" (default "username" $kafka.secretKeys.username) -}}
{{- end -}}
{{- $_ := set $access "passwordKey" (default "password" $kafka.secretKeys.password) -}}
{{- end -}}
{{- toYaml $access -}}
{{- end -}}

{{/*
Every key of a Secret that is used, as a YAML list of {variable, secret, key, path, file}: `file` are
those that are files by their nature, certificates and keys.
*/}}
{{- define "walpost.secretValues" -}}
{{- $all := list -}}
{{- $variables := dict "uri" "DATABASE_URL" "host" "PGHOST" "port" "PGPORT" "dbname" "PGDATABASE" "username" "PGUSER" "password" "PGPASSWORD" -}}
{{- $secret := tpl .Values.database.existingSecret . -}}
{{- range $part, $key := include "walpost.databaseKeys" . | fromYaml -}}
{{- $all = append $all (dict "variable" (get $variables $part) "secret" $secret "key" $key "path" (printf "database/%s" $part)) -}}
{{- end -}}
{{- with include "walpost.databaseCa" . -}}
{{- $all = append $all (dict "variable" "PGSSLROOTCERT" "secret" . "key" $.Values.database.caSecret.key "path" "database/ca.crt" "file" true) -}}
{{- end -}}
{{- with .Values.database.clientCertSecret -}}
{{- if .name -}}
{{- $all = append $all (dict "variable" "PGSSLCERT" "secret" (tpl .name $) "key" .certKey "path" "database/tls.crt" "file" true) -}}
{{- $all = append $all (dict "variable" "PGSSLKEY" "secret" (tpl .name $) "key" .keyKey "path" "database/tls.key" "file" true) -}}
{{- end -}}
{{- end -}}
{{- $access := include "walpost.kafkaAccess" . | fromYaml -}}
{{- $secret = tpl .Values.kafka.existingSecret . -}}
{{- $tokens := eq (toString $access.mechanism) "OAUTHBEARER" -}}
{{- with $access.usernameKey -}}
{{- $all = append $all (dict "variable" (ternary "KAFKA_SASL_OAUTHBEARER_CLIENT_ID" "KAFKA_SASL_USERNAME" $tokens) "secret" $secret "key" . "path" "kafka/username") -}}
{{- end -}}
{{- with $access.passwordKey -}}
{{- $all = append $all (dict "variable" (ternary "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET" "KAFKA_SASL_PASSWORD" $tokens) "secret" $secret "key" . "path" "kafka/password") -}}
{{- end -}}
{{- with include "walpost.kafkaCa" . -}}
{{- $all = append $all (dict "variable" "KAFKA_SSL_CA_LOCATION" "secret" . "key" $.Values.kafka.caSecret.key "path" "kafka/ca.crt" "file" true) -}}
{{- end -}}
{{- with $access.certificate -}}
{{- $all = append $all (dict "variable" "KAFKA_SSL_CERTIFICATE_LOCATION" "secret" .name "key" .certKey "path" "kafka/tls.crt" "file" true) -}}
{{- $all = append $all (dict "variable" "KAFKA_SSL_KEY_LOCATION" "secret" .name "key" .keyKey "path" "kafka/tls.key" "file" true) -}}
{{- end -}}
{{- with .Values.http.auth -}}
{{- if .existingSecret -}}
{{- $all = append $all (dict "variable" "WALPOST_HTTP_USERNAME" "secret" (tpl .existingSecret $) "key" .secretKeys.username "path" "http/username") -}}
{{- $all = append $all (dict "variable" "WALPOST_HTTP_PASSWORD" "secret" (tpl .existingSecret $) "key" .secretKeys.password "path" "http/password") -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* The volume of those that are mounted; nothing when there are none. */}}
{{- define "walpost.credentialsVolume" -}}
{{- $sources := list -}}
{{- range include "walpost.secretValues" . | fromYamlArray -}}
{{- if or .file (eq $.Values.secretsAs "file") -}}
{{- $sources = append $sources (dict "secret" (dict "name" .secret "items" (list (dict "key" .key "path" .path)))) -}}
{{- end -}}
{{- end -}}
{{- with $sources }}
- name: credentials
  projected:
    # 0440: read by the pod's group only, which is `fsGroup`.
    defaultMode: 288
    sources:
      {{- toYaml . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* The variables of walpost's container. */}}
{{- define "walpost.env" -}}
{{- $path := include "walpost.credentialsPath" . -}}
{{- $database := .Values.database -}}
{{- with $database.host }}
- name: PGHOST
  value: {{ tpl . $ | quote }}
{{- end }}
{{- if ne (toString $database.port) "" }}
- name: PGPORT
  value: {{ include "walpost.number" $database.port | quote }}
{{- end }}
{{- with $database.name }}
- name: PGDATABASE
  value: {{ . | quote }}
{{- end }}
{{- with $database.user }}
- name: PGUSER
  value: {{ . | quote }}
{{- end }}
{{- with default (ternary "require" "" (and (eq $database.secretPreset "zalando") (not $database.caSecret.name))) $database.sslmode }}
- name: PGSSLMODE
  value: {{ . | quote }}
{{- end }}
{{- $access := include "walpost.kafkaAccess" . | fromYaml }}
- name: KAFKA_BOOTSTRAP_SERVERS
  value: {{ tpl .Values.kafka.bootstrapServers . | quote }}
{{- with $access.protocol }}
- name: KAFKA_SECURITY_PROTOCOL
  value: {{ . | quote }}
{{- end }}
{{- with $access.mechanism }}
- name: KAFKA_SASL_MECHANISM
  value: {{ . | quote }}
{{- end }}
{{- with $access.username }}
- name: KAFKA_SASL_USERNAME
  value: {{ . | quote }}
{{- end }}
{{- range $property, $value := .Values.kafka.properties }}
- name: KAFKA_PROP_{{ $property | upper | replace "." "_" }}
  value: {{ include "walpost.number" $value | quote }}
{{- end }}
{{- range include "walpost.secretValues" . | fromYamlArray }}
{{- if .file }}
- name: {{ .variable }}
  value: {{ $path }}/{{ .path }}
{{- else if eq $.Values.secretsAs "file" }}
- name: {{ .variable }}_FILE
  value: {{ $path }}/{{ .path }}
{{- else }}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
- name: WALPOST_HTTP_ADDR
  value: "{{ .Values.http.address }}:{{ int .Values.http.port }}"
{{- if not (or (hasKey .Values.config "WALPOST_NAME") (hasKey .Values.config "WALPOST_NAME_FILE")) }}
- name: WALPOST_NAME
  value: {{ include "walpost.connectorName" . | quote }}
{{- end }}
{{- if not (or (hasKey .Values.config "WALPOST_MAX_IN_FLIGHT") (hasKey .Values.config "WALPOST_MAX_IN_FLIGHT_FILE")) }}
- name: WALPOST_MAX_IN_FLIGHT
  value: "{{ include "walpost.inFlightBytes" . }}B"
{{- end }}
{{- range $name, $value := .Values.config }}
- name: {{ $name }}
  value: {{ include "walpost.number" $value | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}
