package configs

import (
	"fmt"
	"strings"
	"testing"
)

// TestRun05TheConsoleIsNotForEverybody: the console shows everything and can end connections, so it serves
// this machine only, or needs a token that cannot be guessed.
func TestRun05TheConsoleIsNotForEverybody(t *testing.T) {
	const apps, token = "apps: [{id: a, key: k, secret: s}]\n", "a-token-of-an-operator"
	for name, c := range map[string]struct{ yaml, problem string }{
		"on this machine":           {"{enabled: true}", ""},
		"on IPv6 of this machine":   {"{enabled: true, host: '::1'}", ""},
		"everywhere with a token":   {"{enabled: true, host: 0.0.0.0, token: " + token + "}", ""},
		"not at all, everywhere":    {"{enabled: false, host: 0.0.0.0}", ""},
		"everywhere":                {"{enabled: true, host: 0.0.0.0}", "console.token is not set"},
		"everywhere on IPv6":        {"{enabled: true, host: '::'}", "console.token is not set"},
		"on a name":                 {"{enabled: true, host: console.internal}", "console.token is not set"},
		"an address of a network":   {"{enabled: true, host: 192.0.2.1}", "console.token is not set"},
		"a token that is short":     {"{enabled: true, token: short}", "console.token has 5 characters"},
		"a token that is long":      {"{enabled: true, token: " + strings.Repeat("x", 201) + "}", "console.token has 201 characters"},
		"a token to be guessed":     {"{enabled: true, token: aaaaaaaabbbbbbbb}", "console.token has only 2 different characters"},
		"a token of one word twice": {"{enabled: true, token: secret-secret-secret}", "console.token has only 6 different characters"},
		"a token with a space":      {"{enabled: true, token: 'a token of an operator'}", "console.token has characters"},
		"a token with a line break": {"{enabled: true, token: \"a-token-of-an\\noperator\"}", "console.token has characters"},
		"a port that is none":       {"{enabled: true, port: -1}", "console.port is -1"},
		"something else":            {"{enabled: maybe}", "console.enabled is"},
		"a key that is none":        {"{secret: " + token + "}", "console.secret"},
	} {
		s := Sources{File: write(t, "c.yaml", "mode: production\n"+apps+"console: "+c.yaml+"\n")}
		if c.problem == "" {
			if got := load(t, s); got.Console.Port != 9602 {
				t.Errorf("%s: got %+v", name, got.Console)
			}
			continue
		}
		if got := problemsOf(t, s); len(got) != 1 || !strings.Contains(got[0], c.problem) || strings.Contains(got[0], token) {
			t.Errorf("%s: got %q, want %q", name, got, c.problem)
		}
	}
}

func TestRun05WhereTheConsoleIs(t *testing.T) {
	const token = "a-token-of-an-operator"
	file := write(t, "token", token+"\n")
	for name, c := range map[string]struct {
		environ string
		enabled bool
		port    int
	}{
		"development":                {"", true, -1},
		"development without a page": {"SLUICE_WEB_ENABLED=false", false, -1},
		"development, switched off":  {"SLUICE_CONSOLE_ENABLED=false", false, -1},
		"development with a token":   {"SLUICE_CONSOLE_TOKEN=" + token, true, 9602},
		"a token in a file":          {"SLUICE_CONSOLE_TOKEN_FILE=" + file, true, 9602},
	} {
		got := load(t, Sources{Environ: []string{c.environ}})
		if got.Console.Enabled != c.enabled || got.Console.Port != c.port {
			t.Errorf("%s: got %+v", name, got.Console)
		}
		if text, err := got.YAML(); err != nil || strings.Contains(string(text), token) {
			t.Errorf("%s: the token is shown, or %v", name, err)
		}
		if text := fmt.Sprintf("%v %+v %#v", got.Console, got.Console, got.Console); strings.Contains(text, token) {
			t.Errorf("%s: a format shows the token", name)
		}
	}
	if got := load(t, Sources{File: write(t, "c.yaml", "mode: production\napps: [{id: a, key: k, secret: s}]\n")}); got.Console.Enabled {
		t.Error("production has a console that nobody asked for")
	}
}

func TestRun06ProfilesStayOnThisMachine(t *testing.T) {
	for address, problem := range map[string]string{
		"": "", "127.0.0.1:6060": "", "[::1]:0": "", "localhost:6060": "",
		":6060": "must stay on this machine", "0.0.0.0:6060": "must stay on this machine", "[::]:6060": "must stay on this machine", "192.0.2.1:6060": "must stay on this machine",
		"profiles.internal:6060": "must stay on this machine", "127.0.0.1": "must be an address and a port", "6060": "must be an address and a port", "127.0.0.1:http": "must be an address and a port", "127.0.0.1:65536": "must be an address and a port",
	} {
		s := Sources{Environ: []string{"SLUICE_DEBUG_PPROF=" + address}}
		if problem == "" {
			if got := load(t, s); got.Pprof != address {
				t.Errorf("%s: got %q", address, got.Pprof)
			}
			continue
		}
		if got := problemsOf(t, s); len(got) != 1 || !strings.Contains(got[0], problem) || !strings.Contains(got[0], "debug.pprof") {
			t.Errorf("%s: got %q, want %q", address, got, problem)
		}
	}
}
