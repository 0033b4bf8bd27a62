package redis

import (
	"testing"

	"github.com/redis/rueidis"
)

// TestAPasswordForAnotherServerIsNotTold: the file with the URL may change the user and password while a
// gateway runs. If it names another server, which takes a restart, the server in use keeps getting the former
// credentials.
func TestAPasswordForAnotherServerIsNotTold(t *testing.T) {
	first, err := rueidis.ParseURL("redis://u:one@a:6379?addr=b:6379")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[Secret]string{
		"redis://u:two@a:6379?addr=b:6379": "two", "redis://u:two@a?addr=b:6379": "two", "redis://u:two@c:6379?addr=b:6379": "one", "redis://u:two@a:6379": "one", "no address": "one",
	} {
		o := Options{URLSource: func() (Secret, error) { return address, nil }}
		if got := o.credentials(first).Password; got != want {
			t.Errorf("the file has %s, and the password told is %q, want %q", string(address), got, want)
		}
	}
}
