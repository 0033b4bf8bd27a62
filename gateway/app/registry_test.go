package app

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestRun02RegistryIsReplacedWhileItIsUsed(t *testing.T) {
	r := NewRegistry(&App{ID: "a", Key: "ka", Enabled: true}, &App{ID: "b", Key: "kb", Enabled: true})
	now := time.Unix(100, 0)
	a, b := r.ByID("a"), r.ByID("b")
	added := r.Replace(&App{ID: "a", Key: "ka2", Enabled: true, Earlier: []Key{{Key: "ka", Until: now.Add(time.Second)}}}, &App{ID: "c", Key: "kc"})
	if !slices.Equal(added, []string{"c"}) || !slices.Equal(r.IDs(), []string{"a", "c"}) {
		t.Errorf("added %v, all %v", added, r.IDs())
	}
	if a.Key != "ka" || a.Now().Key != "ka2" || a.Now() != r.ByID("a") {
		t.Error("what an app was does not lead to what it is")
	}
	if got := b.Now(); !got.Removed || got.Enabled || got.ID != "b" || r.ByID("b") != nil || r.ByKey("kb", now) != nil {
		t.Errorf("an app that was removed is %+v", got)
	}
	for key, want := range map[string]string{"ka": "a", "ka2": "a", "kc": "c", "kb": "", "": ""} {
		got := ""
		if of := r.ByKey(key, now); of != nil {
			got = of.ID
		}
		if got != want {
			t.Errorf("%q is of %q, want %q", key, got, want)
		}
	}
	if r.ByKey("ka", now.Add(time.Second)) != nil {
		t.Error("a key counts after its time")
	}
	r.Replace(&App{ID: "b", Key: "kb3", Enabled: true})
	if b.Now().Key != "kb3" || b.Now().Removed {
		t.Error("an app that came back is not what it was")
	}
	var none *App
	if none.Now() != nil || (&App{ID: "x"}).Now().ID != "x" {
		t.Error("an app without a registry is another one")
	}
}

func TestRun02VerifyTriesEveryKeyThatCounts(t *testing.T) {
	now := time.Unix(100, 0)
	a := &App{Key: "new", Secret: "s3", Earlier: []Key{
		{Key: "new", Secret: "s2", Until: now.Add(time.Minute)}, {Key: "old", Secret: "s1"}, {Key: "older", Secret: "s0", Until: now},
	}}
	wrong := errors.New("wrong")
	for signed, want := range map[[2]string]bool{
		{"new", "s3"}: true, {"new", "s2"}: true, {"old", "s1"}: true, {"older", "s0"}: false, {"old", "s3"}: false, {"new", "s1"}: false,
	} {
		err := a.Verify(now, func(key, secret string) error {
			if [2]string{key, secret} == signed {
				return nil
			}
			return wrong
		})
		if (err == nil) != want {
			t.Errorf("%v: %v", signed, err)
		}
	}
}
