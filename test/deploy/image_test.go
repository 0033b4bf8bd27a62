package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// image is what a Dockerfile makes, without the daemon that this takes: its own steps,
// done in folders.
type image struct {
	t *testing.T
	// context is what the builder is sent, and stages what each of them has made.
	context string
	stages  map[string]string
	// root is that of the last stage.
	root string

	user, signal      string
	entry, cmd, check []string
	volumes, exposed  []string
	labels            map[string]string
	work              string
}

func readDockerfile(t *testing.T) []instructions.Stage {
	t.Helper()
	f, err := os.Open(filepath.Join(kit, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Warnings) > 0 {
		t.Errorf("warnings: %+v", parsed.Warnings)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// buildContext copies what .dockerignore lets through.
func buildContext(t *testing.T) string {
	t.Helper()
	f, err := os.Open(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-co", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range strings.Fields(string(out)) {
		if skip, err := ignored.MatchesOrParentMatches(name); err != nil || skip {
			continue
		}
		copyTo(t, filepath.Join(root, name), filepath.Join(dir, name))
	}
	return dir
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err == nil && info.IsDir() {
		err = os.MkdirAll(to, 0o755)
		if err == nil {
			err = os.CopyFS(to, os.DirFS(from))
		}
	} else if err == nil {
		var text []byte
		if text, err = os.ReadFile(from); err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, text, info.Mode().Perm())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// make does all steps.
func (m *image) make(stages []instructions.Stage) {
	m.stages, m.labels = map[string]string{}, map[string]string{}
	for _, s := range stages {
		m.root, m.work = m.t.TempDir(), "/"
		m.stages[s.Name] = m.root
		for _, c := range s.Commands {
			m.step(c)
		}
	}
}

func (m *image) step(c instructions.Command) {
	switch c := c.(type) {
	case *instructions.WorkdirCommand:
		m.work = c.Path
	case *instructions.CopyCommand:
		from := m.context
		if c.From != "" {
			from = m.stages[c.From]
		}
		for _, path := range c.SourcePaths {
			source := filepath.Join(from, path)
			if _, err := os.Stat(source); err != nil && c.From != "" {
				source = path // of the base image, which this machine stands for
			}
			to := filepath.Join(m.root, c.DestPath)
			if c.DestPath == "." {
				to = filepath.Join(m.root, m.work)
			}
			copyTo(m.t, source, to)
			if c.Chown != "" {
				m.own(to, c.Chown)
			}
		}
	case *instructions.RunCommand:
		m.run(strings.Join(c.CmdLine, " "))
	case *instructions.UserCommand:
		m.user = c.User
	case *instructions.EntrypointCommand:
		m.entry = c.CmdLine
	case *instructions.CmdCommand:
		m.cmd = c.CmdLine
	case *instructions.HealthCheckCommand:
		m.check = c.Health.Test
	case *instructions.StopSignalCommand:
		m.signal = c.Signal
	case *instructions.VolumeCommand:
		m.volumes = c.Volumes
	case *instructions.ExposeCommand:
		m.exposed = c.Ports
	case *instructions.LabelCommand:
		for _, l := range c.Labels {
			m.labels[l.Key] = l.Value
		}
	case *instructions.ArgCommand:
	default:
		m.t.Fatalf("the test does not know the step %s", c.Name())
	}
}

// ofTheStage are the folders that the steps of the build stage write to.
var ofTheStage = regexp.MustCompile(`(^|[ =])(/out\b)`)

// run does what RUN says, on this machine, with the folders of the stage.
func (m *image) run(line string) {
	line = ofTheStage.ReplaceAllString(line, "${1}"+m.root+"${2}")
	cmd := exec.CommandContext(m.t.Context(), "sh", "-ec", line)
	cmd.Dir = filepath.Join(m.root, m.work)
	cmd.Env = append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH, "VERSION=1.2.3-test", "REVISION=0123456789abcdef")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

func TestRun06TheDockerfileIsPinnedAndWithoutRights(t *testing.T) {
	stages := readDockerfile(t)
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" || !strings.HasPrefix(stages[0].BaseName, "golang:${GO_VERSION}-") {
		t.Errorf("it stands on %s, built with %s", last.BaseName, stages[0].BaseName)
	}
	text, err := os.ReadFile(filepath.Join(kit, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(module)
	got := regexp.MustCompile(`(?m)^ARG GO_VERSION=(\S+)$`).FindSubmatch(text)
	if wanted == nil || got == nil || string(wanted[1]) != string(got[1]) {
		t.Errorf("it is built with Go %q, and go.mod asks for %q", got, wanted)
	}
	// Each command that the image has, once; the last ones count.
	m := &image{t: t, labels: map[string]string{}}
	for _, c := range last.Commands {
		switch c.(type) {
		case *instructions.CopyCommand, *instructions.RunCommand:
		default:
			m.step(c)
		}
	}
	if m.user != "65532:65532" || m.signal != "SIGTERM" || !slices.Equal(m.volumes, []string{"/data"}) || m.work != "/data" || !slices.Equal(m.exposed, []string{"6001", "9601"}) {
		t.Errorf("user %s, signal %s, volumes %v, in %s, ports %v", m.user, m.signal, m.volumes, m.work, m.exposed)
	}
	if !slices.Equal(m.entry, []string{"/sluice"}) || !slices.Equal(m.cmd, []string{"serve", "--config", "/etc/sluice/sluice.yaml"}) || len(m.check) < 3 || m.check[0] != "CMD" {
		t.Errorf("it runs %v %v, checked by %v", m.entry, m.cmd, m.check)
	}
	for _, label := range []string{"title", "description", "source", "licenses", "version", "revision"} {
		if m.labels["org.opencontainers.image."+label] == "" {
			t.Errorf("it has no label %s: %v", label, m.labels)
		}
	}
}

// TestRun06WhatIsPinnedIsOnThePage: every image has one exact release, and docs/deploy.md names it.
func TestRun06WhatIsPinnedIsOnThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "deploy.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(kit, "compose-*.yml"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, release, _ := strings.Cut(string(module), "\ngo ")
	release, _, _ = strings.Cut(release, "\n")
	pinned := map[string]bool{}
	for _, file := range append(files, filepath.Join(root, "docker-compose.yml"), filepath.Join(kit, "Dockerfile")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^(?: *image: |FROM (?:--platform=\S+ )?)(\S+)`).FindAllStringSubmatch(string(text), -1) {
			pinned[strings.ReplaceAll(m[1], "${GO_VERSION}", release)] = true
		}
	}
	delete(pinned, "scratch")
	delete(pinned, "sluice:local")
	for image := range pinned {
		if !regexp.MustCompile(`:v?\d+\.\d+\.\d+(-[a-z]+)?$`).MatchString(image) {
			t.Errorf("%s is not one release", image)
		}
		if !strings.Contains(string(page), "| `"+image+"` |") {
			t.Errorf("docs/deploy.md does not name %s", image)
		}
	}
	if len(pinned) < 4 {
		t.Errorf("only %v were found", pinned)
	}
}
