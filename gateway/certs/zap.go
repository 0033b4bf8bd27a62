package certs

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// zapCore passes the log of certmagic to the log of the process, one level lower.
type zapCore struct{ log *slog.Logger }

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelWarn
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Enabled implements [zapcore.Core].
func (c zapCore) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), level(l))
}

// With implements [zapcore.Core].
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{slog.New(c.log.Handler().WithAttrs(attrs(fields)))}
}

// Check implements [zapcore.Core].
func (c zapCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements [zapcore.Core].
func (c zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.log.LogAttrs(context.Background(), level(e.Level), e.Message, attrs(fields)...)
	return nil
}

// Sync implements [zapcore.Core].
func (c zapCore) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	out := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(enc)
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}
