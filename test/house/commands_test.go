package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shown are the commands of the pages: how they begin, and the test that runs them, or why none
// does. A test of another name is looked for in all packages.
var shown = []struct{ begins, by string }{
	{"go build ./cmd/sluice", "TestQuickstartRuns"}, // from what it has built
	{"./sluice publish lobby", "TestQuickstartRuns"},
	{"./sluice history lobby", "TestQuickstartRuns"},
	{"./sluice subscribe lobby", "TestRun10Journeys"},
	{"./sluice replay lobby", "TestQuickstartRuns"},
	{"./sluice export lobby", "TestQuickstartRuns"},
	{"./sluice import lobby", "TestQuickstartRuns"},
	{"./sluice app add", "TestRun03ServersThatAreAloneKeepAppsAsWell"},
	{"./sluice init sluice.yaml", "TestRun10Journeys"},
	{"./sluice config --config sluice.yaml --check", "TestRun10Journeys"},
	{"./sluice --config sluice.yaml", "TestRun10Journeys"},
	{"./sluice demo", "TestPageShowsTheDemo"},
	{"./sluice", "TestRun10Journeys"},
	{"curl -s http://127.0.0.1:6001/", "TestQuickstartRuns"},
	{"curl http://127.0.0.1:6001/ready", "TestRun10CommandsOfThePages"},
	{"curl -N 'http://127.0.0.1:6001/app/app-key/events", "TestRun10Journeys"},
	{"curl -s -H \"Authorization: Bearer $(cat /etc/sluice/console-token)\"", "TestRun05WhoReachesTheConsole"},
	{"sluice history lobby", "TestRun10CommandsOfThePages"},
	{"sluice purge lobby", "TestRun10CommandsOfThePages"},
	{"sluice subscribe", "TestRun10CommandsOfThePages"},
	{"sluice doctor", "TestRun04DoctorLooksAtTheLog"},
	{"sluice bench", "TestRun04BenchAgainstAServer"},
	{"sluice --log-level debug", "TestRun10CommandsOfThePages"},
	{"sluice --config sluice.yaml", "TestRun10Journeys"},
	{"nats req ch.app-id.lobby", "TestRun10CommandsOfThePages"},
	{"nats stream backup", "TestR12RestoredLogIsANewLife"},
	{"nats stream restore", "TestR12RestoredLogIsANewLife"},
	{"nats stream rm", "TestR12RestoredLogIsANewLife"},
	{"nats stream edit", "TestR12RestoredLogIsANewLife"},
	{"nats -s nats://127.0.0.1:4222 --user admin", "not run: it asks the servers of docker-compose.yml"},
	{"jq '.config", "TestR12RestoredLogIsANewLife"},
	{"docker build -f configs/deploy/Dockerfile", "TestRun06TheImageRuns"}, // does what the file says, without Docker
	{"docker run", "not run: it needs Docker; TestRun06TheDockerfileIsPinnedAndWithoutRights reads the file"},
	{"docker compose", "not run: it needs Docker; TestWeeks24TheComposeFilesStart starts what is in the files"},
	{"kubectl create secret", "not run: it needs Kubernetes"},
	{"helm install", "not run: it needs Kubernetes; TestRun06TheChartHasAllOfIt reads what the chart makes"},
	{"npm install laravel-echo pusher-js", "not run: it takes packages of others; test/interop has them pinned, and TestRealClients uses them"},
	{"scripts/bench", "not run: it measures, and takes minutes"},
	{"bin/sluice", "not run: it is `./sluice`, where make puts it"},
	{"FAULT_SEED=", "not run: it is one seed of the tests again"},
	{"make build", "not run: it is `go build ./cmd/sluice`"},
	{"sluice app", "TestRun03AppsInTheClusterReachAllGateways"},
}

var (
	fence     = regexp.MustCompile("^```([a-z]*)")
	command   = regexp.MustCompile(`^([A-Z_]+=\S+ )*(\./|bin/)?(sluice|go test|go build|go run|curl|docker|nats|systemctl|kubectl|scripts/[a-z]+|make|npm|jq|openssl|php|composer|helm|git|kill)( [^─]*)?$`)
	testNames = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
)

// commandsOf are the commands in the blocks of a page.
func commandsOf(text string) (out []string) {
	inside, lang, more := false, "", false
	for _, line := range strings.Split(text, "\n") {
		if m := fence.FindStringSubmatch(line); m != nil {
			inside, lang = !inside, m[1]
			continue
		}
		switch {
		case inside && (lang == "sh" || lang == "console"):
		default:
			more = false
			continue
		}
		if !more && command.MatchString(line) {
			out = append(out, line)
		}
		more = strings.HasSuffix(line, `\`)
	}
	return out
}

// testsOf are the names of all tests.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			if err == nil {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range testNames.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// TestRun10EveryCommandOfAPageIsTried finds a test, or a reason, for each.
func TestRun10EveryCommandOfAPageIsTried(t *testing.T) {
	tests := testsOf(t)
	used, seen := map[string]bool{}, 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commandsOf(string(text)) {
			seen++
			by := ""
			for _, s := range shown {
				if strings.HasPrefix(c, s.begins) {
					by, used[s.begins] = s.by, true
					break
				}
			}
			switch {
			case by == "":
				t.Errorf("%s shows %q, which no test runs: add it to the table, with the test or a reason", page, c)
			case strings.HasPrefix(by, "Test") && !tests[by]:
				t.Errorf("%s shows %q, and there is no test %s", page, c, by)
			}
		}
	}
	for _, s := range shown {
		if !used[s.begins] {
			t.Errorf("no page shows %q any more", s.begins)
		}
	}
	if seen < 50 {
		t.Errorf("only %d commands were found", seen)
	}
}

// heading is the anchor of a heading, as pages are shown.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.ReplaceAll(heading, "`", "")) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

var (
	headings = regexp.MustCompile(`(?m)^#+ (.+)$`)
	// section is a link with the name of a section behind it.
	section = regexp.MustCompile(`\]\(([a-zA-Z/._-]+\.md)\),\s"([^"]+)"`)
)

// TestRun10LinksLeadToSections follows links with an anchor, and the names of sections behind links.
func TestRun10LinksLeadToSections(t *testing.T) {
	titles := func(path string) (names, anchors map[string]bool) {
		names, anchors = map[string]bool{}, map[string]bool{}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		for _, m := range headings.FindAllStringSubmatch(string(text), -1) {
			// What is behind it in brackets says which parts of the specification it is about.
			name, _, _ := strings.Cut(m[1], " [")
			names[name], anchors[anchor(m[1])] = true, true
		}
		return names, anchors
	}
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range section.FindAllStringSubmatch(string(text), -1) {
			if names, _ := titles(filepath.Join(filepath.Dir(page), m[1])); !names[m[2]] {
				t.Errorf("%s names the section %q of %s, which is not there", page, m[2], m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to, at, ok := strings.Cut(m[1], "#")
			if !ok || strings.Contains(to, "://") {
				continue
			}
			target := page
			if to != "" {
				target = filepath.Join(filepath.Dir(page), to)
			}
			if _, anchors := titles(target); !anchors[at] {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
}

// TestRun10NothingIsInThePagesTwice: no section, and no key of the configuration.
func TestRun10NothingIsInThePagesTwice(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^(##+ .+)$`).FindAllStringSubmatch(string(text), -1) {
			if seen[m[1]] {
				t.Errorf("%s has the section %q twice", page, m[1])
			}
			seen[m[1]] = true
		}
		if filepath.Base(page) != "configuration.md" {
			continue
		}
		part := ""
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "#") {
				part = ""
				if strings.Contains(line, "apps") {
					part = line
				}
			}
			if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); ok && strings.HasPrefix(line, "| `") {
				if seen[part+name] {
					t.Errorf("the key %s is described twice", name)
				}
				seen[part+name] = true
			}
		}
	}
}
