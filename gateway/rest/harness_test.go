package rest_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is the API behind a real listener.
type rig struct {
	t    testing.TB
	log  *memory.Log
	base string
	api  *rest.API
	app  *app.App // the app with the id "app"
}

func newRig(t testing.TB, change func(*rest.Options)) *rig {
	t.Helper()
	return newRigWith(t, memory.Options{}, change)
}

func newRigWith(t testing.TB, keeps memory.Options, change func(*rest.Options)) *rig {
	t.Helper()
	keeps.Apps = []string{"app", "other", "off"}
	log, err := memory.New(keeps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	one := func(id string, enabled, history bool) *app.App {
		return &app.App{
			ID: id, Key: id + "-key", Secret: app.Secret(id + "-secret"), Enabled: enabled, HistoryEnabled: history, Limits: app.DefaultLimits,
		}
	}
	opt := rest.Options{Apps: app.NewRegistry(one("app", true, true), one("other", true, false), one("off", false, true)), Log: log}
	if change != nil {
		change(&opt)
	}
	api := rest.New(opt)
	s := httptest.NewServer(api)
	t.Cleanup(s.Close)
	return &rig{t, log, s.URL, api, opt.Apps.ByID("app")}
}

// answer is a response of the API.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
	Error  string `json:"error"`
	Code   string `json:"code"`
}

// call sends a request signed for the app; change edits it after signing.
func (r *rig) call(method, appID, path string, body []byte, change ...func(url.Values, http.Header)) answer {
	r.t.Helper()
	path = "/apps/" + appID + path
	query := url.Values{}
	if at := bytes.IndexByte([]byte(path), '?'); at >= 0 {
		var err error
		if query, err = url.ParseQuery(path[at+1:]); err != nil {
			r.t.Fatal(err)
		}
		path = path[:at]
	}
	query.Set("auth_key", appID+"-key")
	query.Set("auth_timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	query.Set("auth_version", "1.0")
	if len(body) > 0 {
		sum := md5.Sum(body)
		query.Set("body_md5", hex.EncodeToString(sum[:]))
	}
	query.Set("auth_signature", pusher.SignRequest(appID+"-secret", method, path, query))
	header := http.Header{"Content-Type": {"application/json"}}
	for _, f := range change {
		f(query, header)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, r.base+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = header
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Header: resp.Header, Body: text}
	if a.Status != http.StatusOK {
		if err := json.Unmarshal(text, &a); err != nil {
			r.t.Fatalf("the error %q is not JSON", text)
		}
	}
	return a
}

func (r *rig) publish(body string, change ...func(url.Values, http.Header)) answer {
	r.t.Helper()
	return r.call(http.MethodPost, "app", "/events", []byte(body), change...)
}

// stored returns all publications of a channel, oldest first.
func (r *rig) stored(appID, channel string) []*broker.Publication {
	r.t.Helper()
	page, err := r.log.Read(context.Background(), appID, channel, broker.Query{Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	return page.Publications
}
