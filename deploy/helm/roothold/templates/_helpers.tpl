{{- define "roothold.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "roothold.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "roothold.labels" -}}
{{ include "roothold.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "roothold.secret" -}}
{{- default (include "roothold.fullname" .) .Values.secret.name -}}
{{- end -}}

{{- define "roothold.claim" -}}
{{- default (printf "%s-data" (include "roothold.fullname" .)) .Values.data.existingClaim -}}
{{- end -}}

{{- /* The variable of a key that seals cursors: letters, digits and _ alone. */ -}}
{{- define "roothold.handleVariable" -}}
{{- printf "HANDLE_%s" (. | upper | replace "-" "_") -}}
{{- end -}}

{{- /* The host by which clients reach it from outside, if there is one. */ -}}
{{- define "roothold.host" -}}
{{- if .Values.ingress.enabled -}}
{{- .Values.ingress.host -}}
{{- else if and .Values.gateway.enabled .Values.gateway.hostnames -}}
{{- first .Values.gateway.hostnames -}}
{{- end -}}
{{- end -}}

{{- /* From the end of a Pod to its last chance: more than everything that it may take. */ -}}
{{- define "roothold.grace" -}}
{{- $shutdown := .Values.shutdown -}}
{{- add $shutdown.preStopSeconds $shutdown.preStopDelaySeconds $shutdown.drainSeconds 30 -}}
{{- end -}}

{{- /* The configuration as one map: that of the values, with what this chart decides. */ -}}
{{- define "roothold.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $name := include "roothold.fullname" . -}}
{{- $server := default dict $config.server -}}
{{- $host := include "roothold.host" . -}}
{{- if and $host (not $server.public_url) -}}
{{- $_ := set $server "public_url" (printf "https://%s/mcp" $host) -}}
{{- end -}}
{{- $own := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $_ := set $server "allowed_hosts" (concat (default list $server.allowed_hosts) $own) -}}
{{- $_ := set $server "pre_stop_delay_seconds" .Values.shutdown.preStopDelaySeconds -}}
{{- $_ := set $server "drain_timeout_seconds" .Values.shutdown.drainSeconds -}}
{{- $_ := set $config "server" $server -}}
{{- $_ := set $config "audit" (merge (dict "dir" "/var/lib/roothold/audit") (default dict $config.audit)) -}}
{{- $state := default dict $config.state -}}
{{- if eq .Values.state "postgres" -}}
{{- $_ := set $state "postgres" "${STATE_POSTGRES}" -}}
{{- else -}}
{{- $_ := set $state "dir" "/var/lib/roothold/state" -}}
{{- end -}}
{{- $_ := set $config "state" $state -}}
{{- $keys := list -}}
{{- range .Values.handles -}}
{{- $keys = append $keys (printf "%s:${%s}" . (include "roothold.handleVariable" .)) -}}
{{- end -}}
{{- if $keys -}}
{{- $_ := set $config "handles" (dict "keys" $keys) -}}
{{- end -}}
{{- $_ := set $config "dataset_engine" (merge (dict "spill_dir" "/var/cache/roothold") (default dict $config.dataset_engine)) -}}
{{- toJson $config -}}
{{- end -}}

{{- /* What a replica must be replaced for. */ -}}
{{- define "roothold.checksum" -}}
{{- $config := include "roothold.config" . | fromJson -}}
{{- if not .Values.rollOnEveryChange -}}
{{- $config = omit $config "databases" "tools" -}}
{{- end -}}
{{- $config | toJson | sha256sum -}}
{{- end -}}

{{- /* Has whole numbers be such again in a map: the values of a chart know fractions alone, which TOML tells apart. */ -}}
{{- define "roothold.wholeNumbers" -}}
{{- $map := . -}}
{{- range $key, $value := $map -}}
{{- if kindIs "map" $value -}}
{{- include "roothold.wholeNumbers" $value -}}
{{- else if kindIs "slice" $value -}}
{{- $list := list -}}
{{- range $value -}}
{{- if kindIs "map" . -}}
{{- include "roothold.wholeNumbers" . -}}
{{- $list = append $list . -}}
{{- else -}}
{{- $list = append $list (ternary (int64 .) . (eq (include "roothold.isWhole" .) "yes")) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $map $key $list -}}
{{- else if include "roothold.isWhole" $value -}}
{{- $_ := set $map $key (int64 $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "roothold.isWhole" -}}
{{- if kindIs "float64" . -}}{{- if eq (floor .) . -}}yes{{- end -}}{{- end -}}
{{- end -}}
