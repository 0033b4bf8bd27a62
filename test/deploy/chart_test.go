package deploy

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/sluicehq/sluice/configs"
)

var chartDir = filepath.Join(kit, "helm", "sluice")

// tree is a document of YAML.
type tree = map[string]any

// under walks down; numbers are indexes.
func under(v any, path ...any) any {
	for _, p := range path {
		switch at := p.(type) {
		case string:
			m, _ := v.(tree)
			v = m[at]
		case int:
			l, _ := v.([]any)
			if at >= len(l) {
				return nil
			}
			v = l[at]
		}
	}
	return v
}

func readTree(t *testing.T, file string) tree {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := tree{}
	if err := yaml.Unmarshal(text, &out); err != nil {
		t.Fatal(file, err)
	}
	return out
}

// merged puts what a user says over what the chart has.
func merged(base, over tree) tree {
	out := tree{}
	maps.Copy(out, base)
	for k, v := range over {
		if a, ok := out[k].(tree); ok {
			if b, ok := v.(tree); ok {
				out[k] = merged(a, b)
				continue
			}
		}
		out[k] = v
	}
	return out
}

// rendered are the manifests of the chart, by kind. It does of Helm what the chart needs;
// scripts/kit has Helm itself look at it.
func rendered(t *testing.T, values tree) map[string]tree {
	t.Helper()
	all := template.New("chart").Option("missingkey=zero")
	funcs := sprig.TxtFuncMap()
	funcs["include"] = func(name string, data any) (string, error) {
		var out strings.Builder
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	funcs["toYaml"] = func(v any) (string, error) {
		text, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	all.Funcs(funcs)
	files, err := filepath.Glob(filepath.Join(chartDir, "templates", "*"))
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	if _, err := all.ParseFiles(files...); err != nil {
		t.Fatal(err)
	}
	chart := readTree(t, filepath.Join(chartDir, "Chart.yaml"))
	data := tree{
		"Values": values, "Release": tree{"Name": "realtime", "Namespace": "default", "Service": "Helm"},
		"Chart": tree{"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
	}
	out := map[string]tree{}
	for _, file := range files {
		var text bytes.Buffer
		if err := all.ExecuteTemplate(&text, filepath.Base(file), data); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(file) != ".yaml" || strings.TrimSpace(text.String()) == "" {
			continue
		}
		one := tree{}
		if err := yaml.Unmarshal(text.Bytes(), &one); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, text.String())
		}
		out[one["kind"].(string)] = one
	}
	return out
}

func chartValues(t *testing.T, name string) tree {
	t.Helper()
	return merged(readTree(t, filepath.Join(chartDir, "values.yaml")), readTree(t, filepath.Join(chartDir, "ci", name+".yaml")))
}

func TestRun06TheChartHasAllOfIt(t *testing.T) {
	for name, want := range map[string][]string{
		"cluster":  {"ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount", "ServiceMonitor"},
		"embedded": {"ConfigMap", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet"},
		"tls":      {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"},
	} {
		values := chartValues(t, name)
		got := rendered(t, values)
		if kinds := slices.Sorted(maps.Keys(got)); !slices.Equal(kinds, want) {
			t.Errorf("%s: %v", name, kinds)
		}
		pods := merged(got["Deployment"], got["StatefulSet"])
		pod := under(pods, "spec", "template", "spec")
		c := loadedConfig(t, under(got["ConfigMap"], "data", "sluice.yaml").(string))
		if grace := under(pod, "terminationGracePeriodSeconds").(int); float64(grace) < (c.ReadyDelay+c.Drain).Seconds()+5 {
			t.Errorf("%s: %d seconds for %v and %v", name, grace, c.ReadyDelay, c.Drain)
		}
		careful(t, name, pod)
		container := under(pod, "containers", 0)
		for probe, path := range map[string]string{"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"} {
			port, scheme := "http", any("HTTP")
			if c.TLS.Enabled() {
				scheme = "HTTPS"
			}
			if path = c.PathPrefix + path; probe == "livenessProbe" { // The public port may be full.
				port, path, scheme = "metrics", "/health", nil
			}
			if got := under(container, probe, "httpGet").(tree); got["path"] != path || got["port"] != port || got["scheme"] != scheme {
				t.Errorf("%s: %s asks %v", name, probe, got)
			}
		}
		if under(container, "ports", 0, "containerPort") != c.Port || under(container, "ports", 1, "containerPort") != c.Metrics.Port {
			t.Errorf("%s: the ports are %v", name, under(container, "ports"))
		}
		for _, selecting := range []any{under(got["Service"], "spec", "selector"), under(got["PodDisruptionBudget"], "spec", "selector", "matchLabels"), under(pods, "spec", "selector", "matchLabels")} {
			labels := under(pods, "spec", "template", "metadata", "labels").(tree)
			for k, v := range selecting.(tree) {
				if labels[k] != v {
					t.Errorf("%s: the pods lack %s: %v", name, k, v)
				}
			}
		}
		other := rendered(t, merged(values, tree{"config": tree{"activity_timeout": 60}}))
		sum := []any{"spec", "template", "metadata", "annotations", "checksum/config"}
		if a, b := under(pods, sum...), under(merged(other["Deployment"], other["StatefulSet"]), sum...); a == b || a == nil {
			t.Errorf("%s: another configuration makes no other pods", name)
		}
	}
}

// TestTheChartWithTLSIsWhole: the files are mounted, the ports are there, and the certificate may also be one of the
// files of existingSecret.
func TestTheChartWithTLSIsWhole(t *testing.T) {
	values := chartValues(t, "tls")
	got := rendered(t, values)
	pod := under(got["Deployment"], "spec", "template", "spec")
	c := loadedConfig(t, under(got["ConfigMap"], "data", "sluice.yaml").(string))
	if !strings.HasSuffix(c.TLS.CertFile, "/tls.crt") || !strings.HasSuffix(c.TLS.KeyFile, "/tls.key") || c.TLS.HTTPPort != 8080 {
		t.Errorf("the server is told %+v", c.TLS)
	}
	if under(pod, "volumes", 2, "secret", "secretName") != "realtime-tls" || under(pod, "containers", 0, "volumeMounts", 2, "mountPath") != "/run/secrets/tls" {
		t.Errorf("the volumes are %v, mounted %v", under(pod, "volumes"), under(pod, "containers", 0, "volumeMounts"))
	}
	if under(pod, "containers", 0, "ports", 2, "containerPort") != 8080 {
		t.Errorf("the ports are %v", under(pod, "containers", 0, "ports"))
	}
	ports := under(got["Service"], "spec", "ports")
	if under(ports, 0, "port") != 443 || under(ports, 0, "appProtocol") != "https" || under(ports, 1, "port") != 80 || under(ports, 1, "targetPort") != "plain" {
		t.Errorf("the service has %v", ports)
	}
	if under(got["NetworkPolicy"], "spec", "ingress", 0, "ports", 1, "port") != "plain" {
		t.Errorf("the policy is %v", got["NetworkPolicy"])
	}
	values["tlsSecret"] = ""
	values = merged(values, tree{"config": tree{"tls": tree{"cert_file": "/run/secrets/sluice/tls.crt", "key_file": "/run/secrets/sluice/tls.key"}}})
	pod = under(rendered(t, values)["Deployment"], "spec", "template", "spec")
	if under(pod, "containers", 0, "readinessProbe", "httpGet", "scheme") != "HTTPS" || under(pod, "volumes", 2) != nil {
		t.Errorf("with files of existingSecret the pod is %v", pod)
	}
}

// loadedConfig has the server read what the chart tells it.
func loadedConfig(t *testing.T, text string) *configs.Config {
	t.Helper()
	dir := t.TempDir()
	for _, secret := range []string{"metrics-token", "gateway.creds", "tls.crt", "tls.key"} {
		if err := os.WriteFile(filepath.Join(dir, secret), []byte("a-secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("/run/secrets/sluice", dir, "/run/secrets/tls", dir).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := configs.Load(configs.Sources{File: file, Environ: []string{`SLUICE_APPS=[{"id":"a","key":"k","secret":"s"}]`}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// careful checks that a pod has no rights.
func careful(t *testing.T, name string, pod any) {
	t.Helper()
	for _, c := range []struct {
		path []any
		want any
	}{
		{[]any{"automountServiceAccountToken"}, false},
		{[]any{"enableServiceLinks"}, false},
		{[]any{"securityContext", "runAsNonRoot"}, true},
		{[]any{"securityContext", "runAsUser"}, 65532},
		{[]any{"securityContext", "seccompProfile", "type"}, "RuntimeDefault"},
		{[]any{"containers", 0, "securityContext", "allowPrivilegeEscalation"}, false},
		{[]any{"containers", 0, "securityContext", "readOnlyRootFilesystem"}, true},
		{[]any{"containers", 0, "securityContext", "capabilities", "drop", 0}, "ALL"},
		{[]any{"containers", 0, "resources", "limits", "cpu"}, nil},
		{[]any{"topologySpreadConstraints", 1, "topologyKey"}, "topology.kubernetes.io/zone"},
	} {
		if got := under(pod, c.path...); got != c.want {
			t.Errorf("%s: %v is %v, not %v", name, c.path, got, c.want)
		}
	}
	if under(pod, "containers", 0, "resources", "limits", "memory") == nil {
		t.Errorf("%s: there is no limit of memory", name)
	}
}

func TestRun06TheChartRefusesWhatMakesNoSense(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("values.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("values.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(values tree) error {
		plain, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	for _, name := range []string{"cluster", "embedded", "tls"} {
		if err := check(chartValues(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for what, over := range map[string]tree{
		"no secret":             {"existingSecret": ""},
		"a word that is wrong":  {"replica": 3},
		"two embedded logs":     {"embedded": tree{"enabled": true}, "replicas": 2},
		"the latest image":      {"image": tree{"tag": "latest"}},
		"no limit of memory":    {"resources": tree{"limits": tree{"memory": 1}}},
		"metrics without token": {"config": tree{"metrics": tree{"token_file": nil}}},
		"no time for balancers": {"config": tree{"shutdown": tree{"ready_delay_seconds": 0}}},
		"a port of root":        {"config": tree{"port": 80}},
		"another port of root":  {"tlsSecret": "t", "config": tree{"tls": tree{"http_port": 80}}},
		"ACME":                  {"config": tree{"tls": tree{"acme": tree{"domains": []any{"a.example"}}}}},
	} {
		values := merged(chartValues(t, "cluster"), over)
		if what == "no limit of memory" {
			values["resources"] = tree{"limits": tree{}}
		}
		if err := check(values); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}
