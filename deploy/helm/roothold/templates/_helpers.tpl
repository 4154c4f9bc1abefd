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
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
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

{{- /* All hosts by which clients reach it from outside, as JSON. */ -}}
{{- define "roothold.hosts" -}}
{{- $hosts := list -}}
{{- if .Values.ingress.enabled -}}
{{- $hosts = append $hosts .Values.ingress.host -}}
{{- end -}}
{{- if .Values.gateway.enabled -}}
{{- $hosts = concat $hosts .Values.gateway.hostnames -}}
{{- end -}}
{{- $hosts | uniq | toJson -}}
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
{{- $_ := set $server "allowed_hosts" (concat (default list $server.allowed_hosts) (include "roothold.hosts" . | fromJsonArray) $own | uniq) -}}
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
{{- $engine := merge (dict "spill_dir" "/var/cache/roothold") (default dict $config.dataset_engine) -}}
{{- $volume := include "roothold.quantity" .Values.spill.sizeLimit | float64 -}}
{{- /* Beyond the volume the kubelet would end the Pod. */ -}}
{{- if kindIs "invalid" $engine.spill_bytes_max -}}
{{- $_ := set $engine "spill_bytes_max" (mulf $volume 0.9 | floor | int64) -}}
{{- end -}}
{{- $_ := set $config "dataset_engine" $engine -}}
{{- toJson $config -}}
{{- end -}}

{{- /* The configuration as the server reads it. */ -}}
{{- define "roothold.toml" -}}
{{- $config := include "roothold.config" . | fromJson -}}
{{- include "roothold.wholeNumbers" $config -}}
{{- $config | toToml | trim -}}
{{- end -}}

{{- /* Each configuration has a ConfigMap of its own, unless servers are to take changes from the one that they have. */ -}}
{{- define "roothold.configName" -}}
{{- if .Values.rollOnEveryChange -}}
{{- printf "%s-%s" (include "roothold.fullname" .) (include "roothold.toml" . | sha256sum | trunc 10) -}}
{{- else -}}
{{- include "roothold.fullname" . -}}
{{- end -}}
{{- end -}}

{{- /* The Deployment in the cluster as JSON; nothing where it is not asked, as by `helm template`. */ -}}
{{- define "roothold.live" -}}
{{- lookup "apps/v1" "Deployment" .Release.Namespace (include "roothold.fullname" .) | toJson -}}
{{- end -}}

{{- /* The ConfigMap of this release that replicas have now, if it is another than the one they are to have. */ -}}
{{- define "roothold.configBefore" -}}
{{- $now := include "roothold.configName" . -}}
{{- $live := include "roothold.live" . | fromJson -}}
{{- $before := dict -}}
{{- range dig "spec" "template" "spec" "volumes" list $live -}}
{{- $name := dig "configMap" "name" $now . -}}
{{- if and (eq .name "config") (ne $name $now) -}}
{{- $found := lookup "v1" "ConfigMap" $.Release.Namespace $name -}}
{{- if eq (dig "metadata" "labels" "app.kubernetes.io/instance" "" $found) $.Release.Name -}}
{{- $before = $found -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $before -}}
{{- end -}}

{{- /* What a replica must be replaced for. From some principals to none a server goes by a restart alone. */ -}}
{{- define "roothold.checksum" -}}
{{- $config := include "roothold.config" . | fromJson -}}
{{- if not .Values.rollOnEveryChange -}}
{{- $hasPrincipals := not (empty $config.principals) -}}
{{- $config = omit $config "policy" "principals" "databases" "tools" -}}
{{- if $hasPrincipals -}}
{{- $_ := set $config "principals" "some" -}}
{{- end -}}
{{- end -}}
{{- $config | toJson | sha256sum -}}
{{- end -}}

{{- /* A quantity as a number, by its unit. */ -}}
{{- define "roothold.quantity" -}}
{{- if not (kindIs "string" .) -}}
{{- float64 . -}}
{{- else -}}
{{- $unit := regexReplaceAll "^[0-9.]+" . "" -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 "E" 1000000000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- if not (hasKey $units $unit) -}}
{{- fail (printf "%q is no quantity: its unit is none of %s" . (keys $units | sortAlpha | compact | join ", ")) -}}
{{- end -}}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get $units $unit | float64) -}}
{{- end -}}
{{- end -}}

{{- /* What is resident after small calls and half as much again: deploy/README.md, Sizing. A test has the image start and answer in it. */ -}}
{{- define "roothold.memoryLeast" -}}48Mi{{- end -}}

{{- /* What values.schema.json cannot say: it compares no numbers. */ -}}
{{- define "roothold.refuse" -}}
{{- if and .Values.image.tag .Values.image.digest -}}
{{- fail "image.tag and image.digest are both set; the digest alone would decide, so leave the tag empty, or the digest" -}}
{{- end -}}
{{- $scaling := .Values.autoscaling -}}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas (%d) is more than autoscaling.maxReplicas (%d)" (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- $limits := .Values.resources.limits -}}
{{- range $name, $wanted := .Values.resources.requests -}}
{{- $most := get $limits $name -}}
{{- if and $most (gt (include "roothold.quantity" $wanted | float64) (include "roothold.quantity" $most | float64)) -}}
{{- fail (printf "resources.requests.%s (%v) is more than resources.limits.%s (%v)" $name $wanted $name $most) -}}
{{- end -}}
{{- end -}}
{{- $least := include "roothold.memoryLeast" . -}}
{{- if lt (include "roothold.quantity" $limits.memory | float64) (include "roothold.quantity" $least | float64) -}}
{{- fail (printf "resources.limits.memory (%v) is less than %s: the server alone has 30 MiB resident once it has answered a few small calls" $limits.memory $least) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "roothold.fullname" .)) -}}
{{- fail (printf "%q is no name of a Service (lower-case letters, digits and -, a letter first): set fullnameOverride" (include "roothold.fullname" .)) -}}
{{- end -}}
{{- include "roothold.refuseSecret" . -}}
{{- include "roothold.refuseFiles" . -}}
{{- include "roothold.refuseVariables" . -}}
{{- include "roothold.refuseTwice" . -}}
{{- if and (ne .Values.service.type "ClusterIP") (not (and .Values.networkPolicy.enabled .Values.networkPolicy.clients)) -}}
{{- fail (printf "service.type %s takes calls from outside of the cluster, and without TLS: say in networkPolicy.clients who may call, such as {ipBlock: {cidr: …}}" .Values.service.type) -}}
{{- end -}}
{{- $engine := default dict .Values.config.dataset_engine -}}
{{- if and $engine.spill_bytes_max (gt (float64 $engine.spill_bytes_max) (include "roothold.quantity" .Values.spill.sizeLimit | float64)) -}}
{{- fail (printf "config.dataset_engine.spill_bytes_max is more than spill.sizeLimit (%s), beyond which the kubelet ends the Pod" .Values.spill.sizeLimit) -}}
{{- end -}}
{{- if and $engine.memory_bytes_max (gt (float64 $engine.memory_bytes_max) (include "roothold.quantity" $limits.memory | float64)) -}}
{{- fail (printf "config.dataset_engine.memory_bytes_max is more than resources.limits.memory (%v)" $limits.memory) -}}
{{- end -}}
{{- end -}}

{{- /* Files of the Secret that are not there, and mounts where the chart has its own. */ -}}
{{- define "roothold.refuseFiles" -}}
{{- $directory := "/run/roothold/secrets" -}}
{{- $isOwn := false -}}
{{- range .Values.volumeMounts -}}
{{- $isOwn = or $isOwn (hasPrefix $directory .mountPath) -}}
{{- end -}}
{{- if and $isOwn .Values.secret.files -}}
{{- fail (printf "volumeMounts has %s, where the chart mounts secret.files" $directory) -}}
{{- end -}}
{{- range regexFindAll (printf "\"%s/[^\"/]+\"" $directory) (toJson .Values.config) -1 | uniq -}}
{{- $file := base . | trimSuffix "\"" -}}
{{- if not (or $isOwn (has $file $.Values.secret.files)) -}}
{{- fail (printf "config names %s/%s, and secret.files has no %q: the values' list takes the place of the chart's" $directory $file $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Variables in the configuration that nothing sets: each Pod would end. */ -}}
{{- define "roothold.refuseVariables" -}}
{{- $set := keys .Values.secret.env -}}
{{- if eq .Values.state "postgres" -}}
{{- $set = append $set "STATE_POSTGRES" -}}
{{- end -}}
{{- range .Values.handles -}}
{{- $set = append $set (include "roothold.handleVariable" .) -}}
{{- end -}}
{{- range regexFindAll "\"\\$\\{[A-Za-z0-9_]+\\}\"" (pick .Values.config "databases" "stores" "telemetry" | toJson) -1 | uniq -}}
{{- $name := trimPrefix "\"${" . | trimSuffix "}\"" -}}
{{- if not (has $name $set) -}}
{{- fail (printf "config names ${%s}, and secret.env has no %s: add it there, with the key of the Secret that holds its value" $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What has the name of another, which the servers refuse. */ -}}
{{- define "roothold.refuseTwice" -}}
{{- range $section := list "principals" "datasets" "databases" "tools" -}}
{{- $names := list -}}
{{- range default list (get $.Values.config $section) -}}
{{- if has .name $names -}}
{{- fail (printf "config.%s has two of the name %q: make them one, or give each its own name" $section .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "roothold.refuseSecret" -}}
{{- $own := list -}}
{{- $needed := concat .Values.secret.files (values .Values.secret.env) -}}
{{- if eq .Values.state "postgres" -}}
{{- $own = append $own "STATE_POSTGRES" -}}
{{- $needed = append $needed "state-postgres" -}}
{{- end -}}
{{- range .Values.handles -}}
{{- $own = append $own (include "roothold.handleVariable" .) -}}
{{- $needed = append $needed (printf "handle-%s" .) -}}
{{- end -}}
{{- range $name, $_ := .Values.secret.env -}}
{{- if has $name $own -}}
{{- fail (printf "secret.env.%s is a variable that the chart sets itself: take another name" $name) -}}
{{- end -}}
{{- end -}}
{{- if .Values.secret.create -}}
{{- range $needed | uniq | sortAlpha -}}
{{- if not (get $.Values.secret.values .) -}}
{{- fail (printf "secret.create makes a Secret without the key %q, which the values need: add it to secret.values" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
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
