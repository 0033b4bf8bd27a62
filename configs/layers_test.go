package configs

import (
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"
)

// TestWeeks09LayersKeepWhatIsWritten puts values of every form through the library that merges the layers,
// which copies and flattens them.
func TestWeeks09LayersKeepWhatIsWritten(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b.c", "b", "ticker:*", "", ".", "A", "é"})
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaves := rapid.SampledFrom([]any{"0042", "0x1F", "true", "", nil, word("~"), word("1979-05-27"), "123456789012345678901234"})
		if depth == 0 {
			return leaves
		}
		return rapid.OneOf(leaves,
			rapid.Map(rapid.SliceOfN(value(depth-1), 0, 3), func(v []any) any { return v }),
			rapid.Map(rapid.MapOfN(names, value(depth-1), 0, 3), func(v map[string]any) any { return v }))
	}
	rapid.Check(t, func(t *rapid.T) {
		want := value(4).Draw(t, "value")
		tree := map[string]any{"apps": []any{want}}
		file := koanf.New(delim)
		if err := file.Load(rawbytes.Provider(nil), parser{read: func([]byte) (map[string]any, error) { return tree, nil }}); err != nil {
			t.Fatal(err)
		}
		merged, err := merge(defaults(), file.Raw())
		if err != nil {
			t.Fatal(err)
		}
		got, _ := merged.Get("apps").([]any)
		if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Fatalf("got %#v, want %#v", got, want)
		}
	})
}

// TestWeeks09EachLayerWins sets one key of each form in all layers.
func TestWeeks09EachLayerWins(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	BindFlags(flags)
	if err := flags.Parse([]string{"--nats-url=n4:4222", "--host=127.0.0.4", "--port=4", "--nats-start-timeout=4s", "--nats-password-file=" + write(t, "four", "four")}); err != nil {
		t.Fatal(err)
	}
	three := write(t, "three", "three")
	file := write(t, "c.yaml", "host: 127.0.0.2\nport: 2\nnats: {url: [n2:4222, n3:4222], start_timeout: 2s, user: u, password: two}\n"+
		"apps: [{id: 0042, key: k, secret: 0x1F, channel_delta_compression: {\"a.b*\": fossil, A.B: disabled}}]\n")
	environ := []string{"SLUICE_HOST=127.0.0.3", "SLUICE_PORT=3", "SLUICE_NATS_URL=n3:4222", "SLUICE_NATS_START_TIMEOUT=3s", "SLUICE_NATS_PASSWORD_FILE=" + three}
	type seen struct {
		host, url, password string
		port, urls          int
		timeout             string
	}
	for _, c := range []struct {
		s    Sources
		want seen
	}{
		{Sources{File: file}, seen{"127.0.0.2", "n2:4222", "two", 2, 2, "2s"}},
		{Sources{File: file, Environ: environ}, seen{"127.0.0.3", "n3:4222", "three", 3, 1, "3s"}},
		{Sources{File: file, Environ: environ, Flags: flags}, seen{"127.0.0.4", "n4:4222", "four", 4, 1, "4s"}},
	} {
		got := load(t, c.s)
		if s := (seen{got.Host, got.NATS.URLs[0], got.NATS.Password.Reveal(), got.Port, len(got.NATS.URLs), got.NATS.StartTimeout.String()}); s != c.want {
			t.Errorf("got %+v, want %+v", s, c.want)
		}
		a := got.Apps[0]
		if a.ID != "0042" || a.Secret != "0x1F" || len(a.Channels) != 2 || a.Channels[0].Pattern != "A.B" || a.Channels[1].Pattern != "a.b*" {
			t.Errorf("the app is %+v", a)
		}
	}
}

func TestWeeks09KeysWithDots(t *testing.T) {
	if c := load(t, Sources{File: write(t, "c.yaml", "mode: development\nnats.domain: hub\nnats: {embedded.port: 4333}\n")}); c.NATS.Domain != "hub" || c.NATS.Embedded.Port != 4333 {
		t.Errorf("got %+v", c.NATS)
	}
	for name, content := range map[string]string{
		"c.yaml": "mode: development\nnats: {domain: a}\nnats.domain: b\n",
		"c.json": `{"mode": "development", "nats.domain": "b", "nats": {"domain": "a"}}`,
		"c.toml": "mode = 'development'\n\"nats.domain\" = 'b'\n[nats]\ndomain = 'a'\n",
	} {
		if got := problemsOf(t, Sources{File: write(t, name, content)}); len(got) != 1 || !strings.Contains(got[0], "nats.domain is given twice") {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// TestWeeks24NamedPipesAreNotWaitedFor reads named pipes without a writer.
func TestWeeks24NamedPipesAreNotWaitedFor(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := Load(Sources{File: pipe}); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("a configuration from a pipe: %v", err)
	}
	for _, path := range []string{pipe, "/dev/null", "/dev/zero"} {
		got := problemsOf(t, Sources{File: write(t, "c.yaml", "apps: [{id: a, key: k, secret_file: "+path+", webhooks: [{url: 'http://a', headers: {X: {file: "+path+"}}}]}]")})
		if len(got) != 2 || !strings.Contains(got[0], "is no regular file") || !strings.Contains(got[1], "is no regular file") {
			t.Errorf("%s: got %v", path, got)
		}
	}
}
