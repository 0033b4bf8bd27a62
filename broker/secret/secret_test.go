package secret_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/secret"
)

// TestRooms08NoFormatShowsASecret: no verb but %p, which vet refuses for text, and no other way to print one, or what holds one, shows it.
func TestRooms08NoFormatShowsASecret(t *testing.T) {
	const hidden = "hunter2"
	s := secret.Secret(hidden)
	holder := struct {
		S    secret.Secret
		All  []secret.Secret
		ByID map[string]secret.Secret
		At   *secret.Secret
	}{s, []secret.Secret{s}, map[string]secret.Secret{"a": s}, &s}
	var shown []string
	for _, verb := range strings.Split("v +v #v s q x X d b o c U e g t 20s -20v", " ") {
		shown = append(shown, fmt.Sprintf("%"+verb, s), fmt.Sprintf("%"+verb, holder), fmt.Sprintf("%"+verb, &holder))
	}
	text, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("a line", "secret", s, "holder", holder, "pointer", &s)
	}
	shown = append(shown, s.String(), fmt.Sprint(s), fmt.Errorf("wrapped: %w, %d", fmt.Errorf("%v", s), s).Error(), string(text), log.String())
	for _, text := range shown {
		if strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) || strings.Contains(text, fmt.Sprintf("%X", hidden)) {
			t.Errorf("the secret is in %s", text)
		}
	}
	if got := s.Reveal(); got != hidden {
		t.Errorf("revealed %q", got)
	}
	if got := fmt.Sprint(secret.Secret("")); got != "" {
		t.Errorf("none prints %q", got)
	}
}
