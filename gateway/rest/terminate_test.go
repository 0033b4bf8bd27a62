package rest_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/rest"
)

func TestEV22_TerminateConnections(t *testing.T) {
	var ended []string
	var err error
	r := newRig(t, func(o *rest.Options) {
		o.Terminate = func(_ context.Context, a *app.App, user string) error {
			ended = append(ended, a.ID+" "+user)
			return err
		}
	})
	terminate := func(user string, body []byte) answer {
		t.Helper()
		return r.call(http.MethodPost, "app", "/users/"+user+"/terminate_connections", body)
	}
	terminate("nobody", nil).says(t, "an unknown user", `{}`)
	terminate("u-7", []byte(`{}`)).says(t, "the body of the SDKs", `{}`)
	terminate("a%2Fb%20%3B%40%2C%3A%C3%A9", nil).says(t, "an encoded id", `{}`)
	long := strings.Repeat("%C3%A9", 128)
	terminate(long, nil).says(t, "128 characters", `{}`)
	want := []string{"app nobody", "app u-7", "app a/b ;@,:é", "app " + strings.Repeat("é", 128)}
	if !slices.Equal(ended, want) {
		t.Errorf("ended %q, want %q", ended, want)
	}

	ended = nil
	terminate(long+"x", nil).refused(t, "129 characters", http.StatusBadRequest, "invalid_input", "128")
	terminate("", nil).refused(t, "no characters", http.StatusBadRequest, "invalid_input", "user id")
	terminate("%FF", nil).refused(t, "not UTF-8", http.StatusBadRequest, "invalid_input", "UTF-8")
	r.call(http.MethodPost, "off", "/users/u/terminate_connections", nil).refused(t, "a disabled app", http.StatusForbidden, "forbidden", "disabled")
	if len(ended) != 0 {
		t.Errorf("refused requests ended %q", ended)
	}

	err = errOutage
	a := terminate("u-7", nil)
	a.refused(t, "an outage", http.StatusServiceUnavailable, "service_unavailable", "")
	if a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
}

func TestTerminateWhereNobodyCan(t *testing.T) {
	r := newRig(t, nil)
	r.call(http.MethodPost, "app", "/users/u/terminate_connections", nil).
		refused(t, "no terminate", http.StatusUnprocessableEntity, "feature_disabled", "terminated")
}
