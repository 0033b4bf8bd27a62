package broker

import (
	"errors"
	"slices"
	"testing"
)

type testApp struct{ ready bool }

func (a *testApp) Ready() bool { return a.ready }

func TestRun02AppsComeAndGo(t *testing.T) {
	var apps Apps[*testApp]
	made := 0
	change := func(ids ...string) (added, removed []string) {
		added, removed = apps.Differ(ids)
		apps.Change(added, removed, func(string) *testApp { made++; return &testApp{ready: true} })
		slices.Sort(added)
		slices.Sort(removed)
		return added, removed
	}
	apps.Change([]string{GatewaysApp}, nil, func(string) *testApp { return &testApp{} })
	if added, removed := change("a", "b"); !slices.Equal(added, []string{"a", "b"}) || removed != nil {
		t.Errorf("added %v, removed %v", added, removed)
	}
	first, err := apps.Get("a")
	if err != nil {
		t.Fatal(err)
	}
	if added, removed := change("b", "c"); !slices.Equal(added, []string{"c"}) || !slices.Equal(removed, []string{"a"}) {
		t.Errorf("added %v, removed %v", added, removed)
	}
	if _, err := apps.Get("a"); !errors.Is(err, ErrUnknownApp) {
		t.Errorf("an app that is gone: %v", err)
	}
	if apps.Of("a") != first {
		t.Error("who holds an app that is gone has another one")
	}
	if _, err := apps.Get(GatewaysApp); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one that is not ready: %v", err)
	}
	if change("a", "b", "c"); apps.Of("a") != first || made != 3 || apps.Len() != 4 {
		t.Errorf("%d were made, %d are there", made, apps.Len())
	}
}
