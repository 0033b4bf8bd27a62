package redis

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// rights are those that docs/operations.md asks for.
func rights(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("(?s)the commands `(.*?)`.*?`(\\+config\\|get)`").FindSubmatch(text)
	if all == nil {
		t.Fatal("docs/operations.md names no rights for Redis")
	}
	return strings.Join(strings.Fields(string(all[1])+" "+string(all[2])), " ")
}

// TestDocumentedRights does everything as a user with the rights of the documentation
// and no others. Scripts are checked by what they call as well.
func TestDocumentedRights(t *testing.T) {
	for name, cluster := range map[string]bool{"single": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			var servers []*redisserver.Server
			url := ""
			if cluster {
				c := redisserver.StartCluster(t)
				servers, url = c.Masters[:], c.URL()
			} else {
				s := redisserver.Start(t)
				servers, url = []*redisserver.Server{s}, s.URL()
			}
			for _, s := range servers {
				s.Do("ACL SETUSER gateway on >secret ~sluice:* &sluice:* " + rights(t))
			}
			everything(t, open(t, strings.Replace(url, "redis://", "redis://gateway:secret@", 1), cluster))
		})
	}
}

// TestMissingRightsEndTheStart: a user that may not run what the scripts call could
// start, and then store nothing.
func TestMissingRightsEndTheStart(t *testing.T) {
	server := redisserver.Start(t)
	server.Do("ACL SETUSER gateway on >secret ~sluice:* &sluice:* " + strings.Replace(rights(t), " +time", "", 1))
	_, err := Open(t.Context(), Options{
		URL:  Secret(strings.Replace(server.URL(), "redis://", "redis://gateway:secret@", 1)),
		Apps: []AppOptions{{ID: "app-1"}},
	})
	if err == nil || !strings.Contains(err.Error(), "rights of the user") {
		t.Errorf("opening without the right to TIME: got %v, want an error about rights", err)
	}
}

func everything(t *testing.T, l *Log) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w := attachTo(t, l, "c")
	event := plain("c", "x")
	event.Event.DedupID, event.Count = "id", broker.Count{Interval: 3, Value: "v", MaxValues: 1}
	r, err := l.Publish(ctx, "app-1", event)
	if err != nil {
		t.Fatal("publishing: ", err)
	}
	until(t, "the event is delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 1 })
	if _, err := l.After(ctx, "app-1", "c", r[0].Position, 1); err != nil {
		t.Error("reading: ", err)
	}
	if err := l.lostPart(ctx, l.apps["app-1"], r[0].Epoch); err != nil {
		t.Error("beginning a new epoch: ", err)
	}
	table, err := l.OpenTable(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Put(ctx, "a.b.c", []byte("v"), time.Minute); err != nil {
		t.Error("storing a record: ", err)
	}
	if _, err := table.Read(ctx, "a.b.c"); err != nil {
		t.Error("reading a record: ", err)
	}
	if err := table.Purge(ctx, "a.>", 1<<62); err != nil {
		t.Error("removing records: ", err)
	}
	work := l.OpenWork()
	if err := work.Put(ctx, "q", broker.Task{ID: "t", Body: []byte("b")}); err != nil {
		t.Error("storing a task: ", err)
	}
	taking, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	err = work.Take(taking, "q", 1, func(task broker.Taken) {
		done <- task.Done(ctx)
		end()
	})
	if taken := <-done; taken != nil {
		t.Errorf("taking a task: %v, %v", taken, err)
	}
	until(t, "the log is ready", func() bool { return l.Health().Ready })
}
