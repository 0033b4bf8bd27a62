package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	shellBlocks = regexp.MustCompile("(?ms)^```(?:sh|console)\n(.*?)^```")
	inText      = regexp.MustCompile("`(docker [^`]+)`")
)

// dockerCommands are those of the pages, in blocks and within sentences.
func dockerCommands(t *testing.T) (out []string) {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatal(pages, err)
	}
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range shellBlocks.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.SplitSeq(strings.ReplaceAll(m[1], "\\\n", " "), "\n") {
				if line, _, _ = strings.Cut(line, " #"); strings.HasPrefix(line, "docker ") {
					out = append(out, strings.TrimSpace(line))
				}
			}
		}
		for _, m := range inText.FindAllStringSubmatch(string(text), -1) {
			out = append(out, m[1])
		}
	}
	return out
}

// TestRun17DockerCommandsOfThePages has Docker's own client read the commands for which there is no
// daemon here: it takes the flags and finds nobody to send them to. What is said to Compose names
// services that docker-compose.yml has.
func TestRun17DockerCommandsOfThePages(t *testing.T) {
	docker, err := exec.LookPath("docker")
	services := loadCompose(t, filepath.Join(root, "docker-compose.yml")).Services
	read, named := 0, 0
	for _, c := range dockerCommands(t) {
		switch words := strings.Fields(c); {
		case words[1] == "compose":
			for _, w := range words[2:] {
				if strings.HasPrefix(w, "nats-") || strings.HasPrefix(w, "gateway-") {
					named++
					if _, ok := services[w]; !ok {
						t.Errorf("%s: there is no service %s", c, w)
					}
				}
			}
		case words[1] == "build" || words[1] == "run":
			read++
			if err != nil {
				continue // the client is not installed
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(c, "docker ", "exec "+docker+" ", 1))
			cmd.Dir = root
			cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0", "DOCKER_HOST=unix://"+filepath.Join(t.TempDir(), "none.sock"))
			out, err := cmd.CombinedOutput()
			if said := strings.ToLower(string(out)); err == nil || !strings.Contains(said, "cannot connect to the docker daemon") && !strings.Contains(said, "failed to connect to the docker api") {
				t.Errorf("%s: %v\n%s", c, err, out)
			}
		}
	}
	if read < 2 || named < 4 {
		t.Errorf("only %d and %d commands were found", read, named)
	}
	if err != nil {
		t.Skip("there is no Docker client to read the commands; the names of services were looked at")
	}
}
