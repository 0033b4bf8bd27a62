package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/cmd/sluice/doctor"
	"github.com/sluicehq/sluice/configs"
)

// openTo returns the findings of the doctor that others may read or write a path.
func openTo(t *testing.T, file string, environ []string, path string) (out []string) {
	t.Helper()
	c, err := configs.Load(configs.Sources{File: file, Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range doctor.JudgeConfig(doctor.Configuration{Config: c, Files: secretFiles(c, file)}) {
		if f.Check == "files" && strings.Contains(f.Is, path) {
			out = append(out, string(f.Level)+": "+f.Is)
		}
	}
	return out
}

// TestTrust08TheDoctorLooksAtEverySecretFile: the doctor examines the secret files of every key, and those
// that a server writes.
func TestTrust08TheDoctorLooksAtEverySecretFile(t *testing.T) {
	const app = "apps: [{id: a, key: the-key-of-a, secret: env-only-secret-of-a}]\n"
	for name, text := range map[string]string{
		"apps_encryption_key_file":  "apps_encryption_key_file: FILE\n" + app,
		"apps_decryption_keys_file": "apps_encryption_key: an-encryption-key-that-is-long-enough\napps_decryption_keys_file: FILE\n" + app,
		"metrics.token_file":        "metrics.token_file: FILE\n" + app,
		"console.token_file":        "console.token_file: FILE\n" + app,
		"nats.password_file":        "nats: {url: nats://n, user: u, password_file: FILE}\n" + app,
		"nats.token_file":           "nats: {url: nats://n, token_file: FILE}\n" + app,
		"nats.credentials_file":     "nats: {url: nats://n, credentials_file: FILE}\n" + app,
		"nats.nkey_file":            "nats: {url: nats://n, nkey_file: FILE}\n" + app,
		"nats.tls.key_file":         "nats: {url: nats://n, tls: {cert_file: c, key_file: FILE}}\n" + app,
		"redis_url_file":            "redis_url_file: FILE\nadapter.driver: redis\n" + app,
		"redis.tls.key_file":        "redis_url: redis://r\nredis.tls: {cert_file: c, key_file: FILE}\nadapter.driver: redis\n" + app,
		"tls.key_file":              "tls: {cert_file: c, key_file: FILE}\n" + app,
		"secret_file":               "apps: [{id: a, key: k, secret_file: FILE}]\n",
		"an earlier secret":         "apps: [{id: a, key: k, secret: s, previous_keys: [{secret: s0}, {key: k2, secret_file: FILE}]}]\n",
		"a header of a webhook":     "apps: [{id: a, key: k, secret: s, webhooks: [{url: \"https://y.test\"}, {url: \"https://x.test\", headers: {A: b, Authorization: {file: FILE}}}]}]\n",
		"apps.key":                  "nats.embedded.store_dir: DIR\n" + app,
		"sluice.door":               "nats.embedded.store_dir: DIR\n" + app,
		"acme/account.key":          "tls.acme: {domains: [x.test], storage_dir: DIR}\n" + app,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			secret, file := filepath.Join(dir, name), filepath.Join(dir, "c.yaml")
			if err := os.MkdirAll(filepath.Dir(secret), 0o700); err != nil {
				t.Fatal(err)
			}
			content := "a-secret-that-is-long-enough-0123"
			if name == "redis_url_file" {
				content = "redis://:password@r"
			}
			place(t, secret, content, 0o600)
			place(t, file, "mode: production\nhost: 127.0.0.1\n"+strings.NewReplacer("FILE", fmt.Sprintf("%q", secret), "DIR", fmt.Sprintf("%q", dir)).Replace(text), 0o600)
			if got := openTo(t, file, nil, secret); len(got) != 0 {
				t.Errorf("for its owner alone: %v", got)
			}
			for mode, level := range map[os.FileMode]doctor.Level{0o666: doctor.Error, 0o602: doctor.Error, 0o644: doctor.Warning} {
				place(t, secret, "", mode)
				if got := openTo(t, file, nil, secret); len(got) != 1 || !strings.HasPrefix(got[0], string(level)) {
					t.Errorf("mode %04o: %v, want one %s", mode, got, level)
				}
				place(t, secret, content, 0)
			}
		})
	}
}

// place writes a file, unless content is empty, and sets its mode, unless that is 0.
func place(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if content != "" {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if mode != 0 {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTrust08TheDoctorFindsEverySecretInTheConfiguration: the doctor reports a configuration file that
// contains a secret and that everybody may write.
func TestTrust08TheDoctorFindsEverySecretInTheConfiguration(t *testing.T) {
	const apps = "apps: [{id: a, key: k, secret: \"${THE_SECRET}\"}]\n"
	for name, c := range map[string]struct {
		text  string
		holds bool
	}{
		"nothing":                {apps, false},
		"an address without one": {"nats.url: nats://n\n" + apps, false},
		"redis without one":      {"adapter.driver: redis\nredis_url: redis://r:6379/0\n" + apps, false},
		"the secret of an app":   {"apps: [{id: a, key: k, secret: 0042}]\n", true},
		"in other letters":       {"apps: [{id: a, key: k, secret: \"\\u0061-secret-of-an-app\"}]\n", true},
		"in a comment":           {apps + "# the-secret-of-a was it\n", true},
		"an encryption key":      {"apps_encryption_key: an-encryption-key-that-is-long-enough\n" + apps, true},
		"an earlier one":         {"apps_encryption_key: \"${LONG}\"\napps_decryption_keys: another-encryption-key-that-is-long\n" + apps, true},
		"of two one":             {"apps_encryption_key: \"${LONG}\"\napps_decryption_keys: \"${LONG}, another-encryption-key-that-is-long\"\n" + apps, true},
		"an earlier secret":      {"apps: [{id: a, key: k, secret: \"${THE_SECRET}\", previous_keys: [{secret: old}]}]\n", true},
		"a header":               {"apps: [{id: a, key: k, secret: \"${THE_SECRET}\", webhooks: [{url: \"https://x.test\", headers: {Authorization: Bearer x}}]}]\n", true},
		"a header from outside":  {"apps: [{id: a, key: k, secret: \"${THE_SECRET}\", webhooks: [{url: \"https://x.test\", headers: {Authorization: \"${LONG}\"}}]}]\n", false},
		"an address of webhooks": {"apps: [{id: a, key: k, secret: \"${THE_SECRET}\", webhooks: [{url: \"https://x.test/?token=1\"}]}]\n", true},
		"a user of webhooks":     {"apps: [{id: a, key: k, secret: \"${THE_SECRET}\", webhooks: [{url: \"https://u:p@x.test\"}]}]\n", true},
		"metrics":                {"metrics.token: m\n" + apps, true},
		"the console":            {"console.token: abcdefghijklmnop\n" + apps, true},
		"a password of NATS":     {"nats: {url: nats://n, user: u, password: p}\n" + apps, true},
		"a token of NATS":        {"nats: {url: nats://n, token: p}\n" + apps, true},
		"an address of NATS":     {"nats.url: \"nats://n1,nats://u:p@n2\"\n" + apps, true},
		"addresses of NATS":      {"nats.url: [nats://n1, nats://token@n2]\n" + apps, true},
		"an address of Redis":    {"adapter.driver: redis\nredis_url: redis://:p@r\n" + apps, true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.yaml")
			place(t, file, "mode: production\nhost: 127.0.0.1\n"+c.text, 0o666)
			environ := []string{"THE_SECRET=the-secret-of-a", "LONG=a-long-secret-from-the-environment"}
			if got := openTo(t, file, environ, file); (len(got) == 1) != c.holds {
				t.Errorf("the doctor says %v, and it has a secret: %v", got, c.holds)
			}
		})
	}
}
