package rest_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/rest"
)

var updateBodies = flag.Bool("update-bodies", false, "write what is answered to bad bodies into testdata/bodies.txt")

// TestBodiesAreRefusedInTheSameWords pins the error messages for wrong bodies, so that another way of reading
// bodies changes none.
func TestBodiesAreRefusedInTheSameWords(t *testing.T) {
	r := newRig(t, func(o *rest.Options) { o.AllowUnsigned = func(*http.Request) bool { return true } })
	var got strings.Builder
	for _, sent := range rest.BadBodies() {
		w := httptest.NewRecorder()
		r.api.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/apps/app/"+sent.Route, strings.NewReader(sent.Body)))
		text := sent.Body
		if len(text) > 400 {
			text = fmt.Sprintf("%s ... %s, %d bytes", text[:150], text[len(text)-20:], len(text))
		}
		fmt.Fprintf(&got, "%s %q\n\t%d %s\n", sent.Route, text, w.Code, bytes.TrimSpace(w.Body.Bytes()))
	}
	if at := strings.Index(got.String(), "Go "); at >= 0 {
		t.Errorf("an answer names types of this program: ...%.200s", got.String()[at-100:])
	}
	const file = "testdata/bodies.txt"
	if *updateBodies {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
