package pusher_test

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// The credentials of the worked examples in the protocol.
const (
	demoKey    = "gw_demo_key_01"
	demoSecret = "gw_demo_secret_01"
	demoBody   = `{"name":"price-update","channels":["ticker-AAPL"],"data":"{\"symbol\":\"AAPL\",\"price\":150.25}"}`
)

var demoTime = time.Unix(1767225600, 0)

func demoParams(extra ...string) url.Values {
	v := url.Values{"auth_key": {demoKey}, "auth_timestamp": {"1767225600"}, "auth_version": {"1.0"}}
	for i := 0; i < len(extra); i += 2 {
		v.Set(extra[i], extra[i+1])
	}
	return v
}

// demoRequest returns the first worked request, with the signature printed in the protocol.
func demoRequest() pusher.Request {
	return pusher.Request{
		Method: http.MethodPost, Path: "/apps/4711/events", Body: []byte(demoBody),
		Params: demoParams("body_md5", "fad5f2375a01034c352907d3ae1db543",
			"auth_signature", "9fbc4d20a59cc0a0d4d92e92927291e5e0323c0d9355ab0f83fe526e5b1401e6"),
	}
}

// verifyRequest verifies query and body, as the API does when the body has arrived.
func verifyRequest(key, secret string, now time.Time, r pusher.Request) error {
	if err := pusher.VerifyQuery(key, secret, now, r); err != nil {
		return err
	}
	return pusher.VerifyBody(r.Params, r.Body)
}

// resign signs a changed request again, so that only the change can make it fail.
func resign(r *pusher.Request) {
	r.Params.Set("auth_signature", pusher.SignRequest(demoSecret, r.Method, r.Path, r.Params))
}

func TestHS01_WorkedRequestsAreReproduced(t *testing.T) {
	for _, c := range []struct {
		name, method, path, want string
		params                   url.Values
	}{
		{"the publish", "POST", "/apps/4711/events", "9fbc4d20a59cc0a0d4d92e92927291e5e0323c0d9355ab0f83fe526e5b1401e6",
			demoParams("body_md5", "fad5f2375a01034c352907d3ae1db543")},
		{"the publish with its method in lower case", "post", "/apps/4711/events", "9fbc4d20a59cc0a0d4d92e92927291e5e0323c0d9355ab0f83fe526e5b1401e6",
			demoParams("body_md5", "fad5f2375a01034c352907d3ae1db543")},
		{"the query", "GET", "/apps/4711/channels", "6aac9912c703f2de13c6c46519dc92700104392e79bab5996dc4fb815c02a2b5",
			demoParams("filter_by_prefix", "presence-", "info", "user_count")},
		{"the query with names in upper case", "GET", "/apps/4711/channels", "6aac9912c703f2de13c6c46519dc92700104392e79bab5996dc4fb815c02a2b5",
			demoParams("Filter_By_Prefix", "presence-", "INFO", "user_count")},
		{"the query with a signature among its parameters", "GET", "/apps/4711/channels", "6aac9912c703f2de13c6c46519dc92700104392e79bab5996dc4fb815c02a2b5",
			demoParams("filter_by_prefix", "presence-", "info", "user_count", "Auth_Signature", "x")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := pusher.SignRequest(demoSecret, c.method, c.path, c.params); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if err := verifyRequest(demoKey, demoSecret, demoTime, demoRequest()); err != nil {
		t.Errorf("the worked request is refused: %v", err)
	}
}

func TestNamesThatDifferInCaseAreSignedAlikeEveryTime(t *testing.T) {
	params := demoParams("a", "2", "A", "1")
	first := pusher.SignRequest(demoSecret, "GET", "/", params)
	for range 50 {
		if got := pusher.SignRequest(demoSecret, "GET", "/", params); got != first {
			t.Fatalf("got %s, want %s", got, first)
		}
	}
}

func TestVerifyRequestNamesTheFailedCheck(t *testing.T) {
	set := func(name, value string) func(*pusher.Request) {
		return func(r *pusher.Request) { r.Params.Set(name, value); resign(r) }
	}
	unset := func(name string) func(*pusher.Request) {
		return func(r *pusher.Request) { r.Params.Del(name); resign(r) }
	}
	at := func(offset int64) func(*pusher.Request) {
		return set("auth_timestamp", strconv.FormatInt(demoTime.Unix()+offset, 10))
	}
	sum := md5.Sum(nil)
	nothing := hex.EncodeToString(sum[:])
	for _, c := range []struct {
		name   string
		change func(*pusher.Request)
		failed string // empty if the request must be accepted
	}{
		{"HS-02 a changed body", func(r *pusher.Request) { r.Body = append(r.Body, ' ') }, "body_md5"},
		{"HS-02 a changed path", func(r *pusher.Request) { r.Path = "/apps/4711/event" }, "auth_signature"},
		{"HS-02 a changed method", func(r *pusher.Request) { r.Method = http.MethodPut }, "auth_signature"},
		{"HS-02 an added parameter", func(r *pusher.Request) { r.Params.Set("x", "y") }, "auth_signature"},
		{"HS-02 another secret", func(r *pusher.Request) {
			r.Params.Set("auth_signature", pusher.SignRequest("other", r.Method, r.Path, r.Params))
		}, "auth_signature"},
		{"HS-02 a signature in upper case", func(r *pusher.Request) {
			r.Params.Set("auth_signature", "9FBC4D20A59CC0A0D4D92E92927291E5E0323C0D9355AB0F83FE526E5B1401E6")
		}, "auth_signature"},
		{"HS-03 601 s late", at(-601), "auth_timestamp"},
		{"HS-03 601 s early", at(601), "auth_timestamp"},
		{"HS-03 600 s late", at(-600), ""},
		{"HS-03 600 s early", at(600), ""},
		{"a time below all times", set("auth_timestamp", "-9223372036854775808"), "auth_timestamp"},
		{"a time above all times", set("auth_timestamp", "9223372036854775807"), "auth_timestamp"},
		{"a time that is not a number", set("auth_timestamp", "now"), "auth_timestamp"},
		{"HS-04 no key", unset("auth_key"), "auth_key"},
		{"HS-04 no time", unset("auth_timestamp"), "auth_timestamp"},
		{"HS-04 no version", unset("auth_version"), "auth_version"},
		{"HS-04 another version", set("auth_version", "1.1"), "auth_version"},
		{"HS-04 no sum", unset("body_md5"), "body_md5"},
		{"HS-04 a sum in upper case", set("body_md5", "FAD5F2375A01034C352907D3AE1DB543"), "body_md5"},
		{"HS-04 no signature", func(r *pusher.Request) { r.Params.Del("auth_signature") }, "auth_signature"},
		{"HS-05 the key of another app", set("auth_key", "other"), "auth_key"},
		{"HS-06 extra parameters", set("Zulu", "a b&c=d%20é"), ""},
		{"no body and no sum", func(r *pusher.Request) { r.Body = nil; r.Params.Del("body_md5"); resign(r) }, ""},
		{"no body and the sum of nothing", func(r *pusher.Request) { r.Body = nil; set("body_md5", nothing)(r) }, ""},
		{"no body and another sum", func(r *pusher.Request) { r.Body = nil; resign(r) }, "body_md5"},
		{"no body and an empty sum", func(r *pusher.Request) { r.Body = nil; set("body_md5", "")(r) }, "body_md5"},
		{"two sums", func(r *pusher.Request) { r.Params.Add("body_md5", nothing); resign(r) }, "body_md5"},
		{"two sums in one", set("body_md5", demoRequest().Params.Get("body_md5")+","+nothing), "body_md5"},
		{"a sum of another name", set("Body_MD5", nothing), "body_md5"},
		{"a signature cut short", func(r *pusher.Request) {
			r.Params.Set("auth_signature", r.Params.Get("auth_signature")[:63])
		}, "auth_signature"},
		{"a signature with more behind", func(r *pusher.Request) {
			r.Params.Set("auth_signature", r.Params.Get("auth_signature")+"0")
		}, "auth_signature"},
		{"HS-07 signed as sent", func(r *pusher.Request) { r.Path = "/apps/4711/a%3Bb"; resign(r) }, ""},
		{"HS-07 signed decoded", func(r *pusher.Request) {
			r.Path = "/apps/4711/a;b"
			resign(r)
			r.Path = "/apps/4711/a%3Bb"
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := demoRequest()
			c.change(&r)
			err := verifyRequest(demoKey, demoSecret, demoTime, r)
			got := ""
			if failed, ok := errors.AsType[*pusher.RequestError](err); ok {
				got = failed.Parameter
			}
			if got != c.failed || (err == nil) != (c.failed == "") {
				t.Errorf("got %v, want the check of %q", err, c.failed)
			}
			if err != nil && !errors.Is(err, pusher.ErrUnsigned) {
				t.Errorf("%v does not wrap ErrUnsigned", err)
			}
		})
	}
}

func TestAUTH01_WorkedSignaturesAreReproduced(t *testing.T) {
	const (
		socket   = "1234.5678"
		member   = `{"user_id":"u-7","user_info":{"name":"Ada"}}`
		userData = `{"id":"u-7","user_info":{"name":"Ada"},"watchlist":["u-8"]}`
	)
	got := map[string]string{
		"private":  pusher.SignChannel(demoSecret, socket, "private-orders", "", false),
		"presence": pusher.SignChannel(demoSecret, socket, "presence-room", member, true),
		"user":     pusher.SignUser(demoSecret, socket, userData),
	}
	want := map[string]string{
		"private":  "4a699e5bc43351b69eb7037951b1e7769ab445a6f3978b4d16f5d5fcd2eb0dcc",
		"presence": "e76fcc4c1c8a8dd6f88743a0ce1f0e72097fe1f96098ffcc271507acb2f99403",
		"user":     "fba5bc42b0d66258e8144590e07f45bfa28e6feaccf6f60c8d00d042dd151b65",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("signatures (-want +got):\n%s", diff)
	}
	for name, err := range map[string]error{
		"private":  pusher.VerifyChannel(demoKey, demoSecret, demoKey+":"+want["private"], socket, "private-orders", "", false),
		"presence": pusher.VerifyChannel(demoKey, demoSecret, demoKey+":"+want["presence"], socket, "presence-room", member, true),
		"user":     pusher.VerifyUser(demoKey, demoSecret, demoKey+":"+want["user"], socket, userData),
	} {
		if err != nil {
			t.Errorf("the worked %s signature is refused: %v", name, err)
		}
	}
}

func TestVerifyChannelRefusesEverythingElse(t *testing.T) {
	const (
		socket  = "1234.5678"
		channel = "presence-room"
		member  = ` { "user_id" : "u\u002d7" } `
	)
	right := demoKey + ":" + pusher.SignChannel(demoSecret, socket, channel, member, true)
	verify := func(auth, socket, channel, data string, hasData bool) error {
		return pusher.VerifyChannel(demoKey, demoSecret, auth, socket, channel, data, hasData)
	}
	if err := verify(right, socket, channel, member, true); err != nil {
		t.Fatalf("AUTH-11 odd whitespace and escapes: %v", err)
	}
	for name, err := range map[string]error{
		"AUTH-04 an empty auth":                 verify("", socket, channel, member, true),
		"AUTH-09 garbage":                       verify("garbage", socket, channel, member, true),
		"AUTH-09 a key alone":                   verify(demoKey, socket, channel, member, true),
		"AUTH-09 a key and a colon":             verify(demoKey+":", socket, channel, member, true),
		"AUTH-03 a wrong signature":             verify(right[:len(right)-1]+"x", socket, channel, member, true),
		"AUTH-03 a signature with more behind":  verify(right+"0", socket, channel, member, true),
		"AUTH-05 the secret of another app":     verify(demoKey+":"+pusher.SignChannel("other", socket, channel, member, true), socket, channel, member, true),
		"AUTH-06 the key of another app":        verify("other"+right[len(demoKey):], socket, channel, member, true),
		"AUTH-07 another socket":                verify(right, "1234.5679", channel, member, true),
		"AUTH-08 another channel":               verify(right, socket, "presence-root", member, true),
		"AUTH-10 one byte of the member data":   verify(right, socket, channel, ` { "user_id" : "u\u002d8" } `, true),
		"AUTH-10 no member data":                verify(right, socket, channel, "", false),
		"AUTH-10 empty member data, not signed": verify(demoKey+":"+pusher.SignChannel(demoSecret, socket, channel, "", false), socket, channel, "", true),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestASubscriptionNeedsTheSignatureOfItsMember: member data is accepted only with a signature over it, and a
// signature opens one channel only.
func TestASubscriptionNeedsTheSignatureOfItsMember(t *testing.T) {
	const socket, member, other = "1234.5678", `{"user_id":"u-7"}`, `{"user_id":"u-8"}`
	for _, c := range []struct {
		name          string
		channel, data string
		signed        string // what the signature covers after the socket id
		ok            bool
	}{
		{"presence", "presence-a", member, "presence-a:" + member, true},
		{"presence, another member", "presence-a", other, "presence-a:" + member, false},
		{"presence, a signature without a member", "presence-a", member, "presence-a", false},
		{"presence, another channel", "presence-a", member, "presence-b:" + member, false},
		{"presence with a cache, a signature without a member", "presence-cache-a", member, "presence-cache-a", false},
		{"presence, data that is no object", "presence-a", `"u-7"`, `presence-a:"u-7"`, false},
		{"presence, data that is no JSON", "presence-a", "b", "presence-a:b", false},
		{"private, data that is signed", "private-a", member, "private-a:" + member, true},
		{"private, data that is not signed", "private-a", member, "private-a", true},
		{"private, data of another", "private-a", member, "private-a:" + other, false},
		{"private, another channel", "private-a", member, "private-b", false},
		{"private, the signature of a longer name", "private-a", "b", "private-a:b", false},
	} {
		for _, has := range []bool{true, false} {
			s := pusher.Subscribe{Channel: c.channel, ChannelData: c.data, HasChannelData: has}
			signed, ok := c.signed, c.ok
			if !has {
				// Without data only a signature of the name alone is valid.
				s.ChannelData, ok = "", c.signed == c.channel
			}
			head, rest, _ := strings.Cut(signed, ":")
			s.Auth = demoKey + ":" + pusher.SignChannel(demoSecret, socket, head, rest, rest != "")
			if err := pusher.VerifySubscription(demoKey, demoSecret, socket, &s); (err == nil) != ok {
				t.Errorf("%s, with data %t: %v, want accepted %t", c.name, has, err, ok)
			}
			s.Auth = "other" + s.Auth[len(demoKey):]
			if pusher.VerifySubscription(demoKey, demoSecret, socket, &s) == nil {
				t.Errorf("%s, with data %t: the key of another app is accepted", c.name, has)
			}
		}
	}
}

func BenchmarkVerifyRequest(b *testing.B) {
	r := demoRequest()
	b.ReportAllocs()
	for b.Loop() {
		if err := verifyRequest(demoKey, demoSecret, demoTime, r); err != nil {
			b.Fatal(err)
		}
	}
}
