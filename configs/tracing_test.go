package configs

import (
	"strings"
	"testing"
)

func TestRun09TracingIsCheckedAtTheStart(t *testing.T) {
	for text, want := range map[string]string{
		"{}": "",
		"{endpoint: 'http://127.0.0.1:4318/v1/traces'}":                "",
		"{endpoint: 'https://traces.example.com', sample_ratio: 0.01}": "",
		"{sample_ratio: 0}": "", "{sample_ratio: 1}": "",
		"{sample_ratio: 1.1}":                     "tracing.sample_ratio",
		"{sample_ratio: -0.1}":                    "tracing.sample_ratio",
		"{sample_ratio: NaN}":                     "tracing.sample_ratio",
		"{sample_ratio: all}":                     "tracing.sample_ratio",
		"{endpoint: '127.0.0.1:4318'}":            "tracing.endpoint",
		"{endpoint: 'grpc://127.0.0.1:4317'}":     "tracing.endpoint",
		"{endpoint: 'http://u:p@127.0.0.1:4318'}": "tracing.endpoint",
		"{service_name: ''}":                      "tracing.service_name",
		"{endpont: 'http://127.0.0.1:4318'}":      "tracing.endpont",
	} {
		_, err := Load(Sources{File: write(t, "c.yaml", "apps: [{id: a, key: k, secret: s}]\ntracing: "+text)})
		if (err != nil) != (want != "") || want != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
