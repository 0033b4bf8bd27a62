{{- define "sluice.name" -}}
{{- .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name (.Values.nameOverride | default .Chart.Name)) (contains (.Values.nameOverride | default .Chart.Name) .Release.Name)) | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sluice.account" -}}
{{- .Values.serviceAccount.name | default (include "sluice.name" .) -}}
{{- end -}}

{{- define "sluice.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What the server is told. With the embedded log it has to know where that is. */}}
{{- define "sluice.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.embedded.enabled -}}
{{- $config = mergeOverwrite $config (dict "nats" (dict "embedded" (dict "store_dir" "/data"))) -}}
{{- end -}}
{{- if .Values.tlsSecret -}}
{{- $config = mergeOverwrite $config (dict "tls" (dict "cert_file" "/run/secrets/tls/tls.crt" "key_file" "/run/secrets/tls/tls.key")) -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{/* Whether the main port speaks TLS, which probes have to know. The port of the metrics never does. */}}
{{- define "sluice.secure" -}}
{{- if or .Values.tlsSecret (dig "tls" "cert_file" "" .Values.config) -}}true{{- end -}}
{{- end -}}

{{/* The port that sends browsers to https, empty for none. */}}
{{- define "sluice.plain" -}}
{{- with dig "tls" "http_port" "" .Values.config -}}{{ int . }}{{- end -}}
{{- end -}}

{{- define "sluice.pod" -}}
metadata:
  labels:
    {{- include "sluice.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Another configuration makes other pods, one after the other.
    checksum/config: {{ include "sluice.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "sluice.account" . }}
  automountServiceAccountToken: false
  # Kubernetes would make variables of services that look like settings.
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  # The server itself goes on for ready_delay_seconds and asks its clients to leave for drain_seconds.
  terminationGracePeriodSeconds: {{ add .Values.config.shutdown.ready_delay_seconds .Values.config.shutdown.drain_seconds .Values.graceSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.topologyKeys }}
  topologySpreadConstraints:
    {{- range . }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "sluice.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  containers:
    - name: sluice
      image: {{ include "sluice.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/sluice/sluice.yaml]
      {{- if .Values.appsKey }}
      env:
        - name: SLUICE_APPS
          valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret | quote }}, key: {{ .Values.appsKey | quote }}}}
      {{- end }}
      ports:
        - {name: http, containerPort: {{ .Values.config.port }}}
        - {name: metrics, containerPort: {{ .Values.config.metrics.port }}}
        {{- with include "sluice.plain" . }}
        - {name: plain, containerPort: {{ . }}}
        {{- end }}
      # The start waits for the log. From then on only a process that does not answer is started anew: no
      # restart brings NATS back, nor helps one that is full, whose metrics port still answers.
      startupProbe: {httpGet: {path: {{ .Values.config.path_prefix | default "" }}/health, port: http, scheme: {{ ternary "HTTPS" "HTTP" (eq (include "sluice.secure" .) "true") }}}, periodSeconds: 2, failureThreshold: 60}
      livenessProbe: {httpGet: {path: /health, port: metrics}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3}
      readinessProbe: {httpGet: {path: {{ .Values.config.path_prefix | default "" }}/ready, port: http, scheme: {{ ternary "HTTPS" "HTTP" (eq (include "sluice.secure" .) "true") }}}, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 2}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: config, mountPath: /etc/sluice, readOnly: true}
        - {name: secrets, mountPath: /run/secrets/sluice, readOnly: true}
        {{- if .Values.tlsSecret }}
        - {name: tls, mountPath: /run/secrets/tls, readOnly: true}
        {{- end }}
        {{- if .Values.embedded.enabled }}
        - {name: data, mountPath: /data}
        {{- end }}
  volumes:
    - {name: config, configMap: {name: {{ include "sluice.name" . }}}}
    - {name: secrets, secret: {secretName: {{ .Values.existingSecret | quote }}, defaultMode: 288}}
    {{- if .Values.tlsSecret }}
    - {name: tls, secret: {secretName: {{ .Values.tlsSecret | quote }}, defaultMode: 288}}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
