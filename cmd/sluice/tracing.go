package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	timerate "golang.org/x/time/rate"

	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/trace"
)

const (
	// maxSpans bounds the spans that wait to be sent; further ones are dropped. A batch has at most half of
	// them.
	maxSpans = 2048
	// spanTime is how long spans wait for a batch. sendTime bounds sending a batch, and sending the last spans
	// at a stop.
	spanTime = 2 * time.Second
	sendTime = 5 * time.Second
	// clientSpans bounds the spans per second that clients cause: about a third of a batch.
	clientSpans = 300
	// traceparent is the header with the trace context.
	traceparent = "traceparent"
)

// tracing records traces and sends them by OTLP.
type tracing struct {
	tracer   oteltrace.Tracer
	provider *sdk.TracerProvider
	headers  propagation.TraceContext
	// clients rate-limits the spans that clients cause.
	clients *timerate.Limiter
}

// openTracing begins to record, and returns nil if no endpoint is configured. Its metrics are registered in any
// case.
func openTracing(c *configs.Config, log *slog.Logger, registry prometheus.Registerer) *tracing {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: c.Metrics.Prefix + "trace_spans_total", Help: "Parts of traces that were recorded, sent, and not taken by the receiver. Those that are missing were dropped.",
	}, []string{"result"})
	registry.MustRegister(spans)
	for _, result := range []string{"recorded", "sent", "failed"} {
		spans.WithLabelValues(result)
	}
	if c.Tracing.Endpoint == "" {
		return nil
	}
	// The receiver is not contacted yet; an unreachable one is retried with each batch.
	out := otlptracehttp.NewUnstarted(otlptracehttp.WithEndpointURL(c.Tracing.Endpoint), otlptracehttp.WithTimeout(sendTime),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}))
	about := resource.NewSchemaless(
		attribute.String("service.name", c.Tracing.ServiceName), attribute.String("service.version", versionText()),
	)
	p := sdk.NewTracerProvider(
		sdk.WithResource(about),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.Tracing.SampleRatio))),
		sdk.WithSpanProcessor(recorded{spans.WithLabelValues("recorded")}),
		sdk.WithBatcher(&outgoingSpans{SpanExporter: out, log: log, spans: spans},
			sdk.WithMaxQueueSize(maxSpans), sdk.WithMaxExportBatchSize(maxSpans/2), sdk.WithBatchTimeout(spanTime), sdk.WithExportTimeout(sendTime)),
	)
	return &tracing{tracer: p.Tracer("github.com/sluicehq/sluice"), provider: p, clients: timerate.NewLimiter(clientSpans, clientSpans)}
}

// close sends the remaining spans, within sendTime.
func (t *tracing) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("sending the last traces: %w", err)
	}
	return nil
}

func (t *tracing) begin(ctx context.Context, operation string, kind oteltrace.SpanKind, attributes []string, links ...oteltrace.Link) (context.Context, *span) {
	ctx, s := t.tracer.Start(ctx, operation, oteltrace.WithSpanKind(kind), oteltrace.WithLinks(links...))
	for i := 1; i < len(attributes); i += 2 {
		if attributes[i] != "" {
			s.SetAttributes(attribute.String(attributes[i-1], attributes[i]))
		}
	}
	return ctx, &span{tracing: t, ctx: ctx, span: s}
}

// Request implements [trace.Tracer].
func (t *tracing) Request(r *http.Request, operation string, attributes ...string) trace.Span {
	ctx := t.headers.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	_, s := t.begin(ctx, operation, oteltrace.SpanKindServer, attributes)
	return s
}

// Call implements [trace.Tracer].
func (t *tracing) Call(r *http.Request, operation string, causes []string, attributes ...string) trace.Span {
	var links []oteltrace.Link
	for _, place := range causes {
		cause := t.headers.Extract(context.Background(), propagation.MapCarrier{traceparent: place})
		if at := oteltrace.SpanContextFromContext(cause); at.IsValid() {
			links = append(links, oteltrace.Link{SpanContext: at})
		}
	}
	ctx, s := t.begin(r.Context(), operation, oteltrace.SpanKindClient, attributes, links...)
	t.headers.Inject(ctx, propagation.HeaderCarrier(r.Header))
	return s
}

// Begin implements [trace.Tracer].
func (t *tracing) Begin(operation string, attributes ...string) trace.Span {
	if !t.clients.Allow() {
		return unrecorded{}
	}
	_, s := t.begin(context.Background(), operation, oteltrace.SpanKindInternal, attributes)
	return s
}

// unrecorded is a span that is not recorded.
type unrecorded struct{}

func (unrecorded) Step(string) trace.Span { return unrecorded{} }
func (unrecorded) Place() string          { return "" }
func (unrecorded) End(int, int, error)    {}

// span is a recorded span.
type span struct {
	tracing *tracing
	ctx     context.Context
	span    oteltrace.Span
}

// Step implements [trace.Span].
func (s *span) Step(operation string) trace.Span {
	_, step := s.tracing.begin(s.ctx, operation, oteltrace.SpanKindInternal, nil)
	return step
}

// Place implements [trace.Span].
func (s *span) Place() string {
	if !s.span.SpanContext().IsSampled() {
		return ""
	}
	out := propagation.MapCarrier{}
	s.tracing.headers.Inject(s.ctx, out)
	return out[traceparent]
}

// End implements [trace.Span].
func (s *span) End(status, events int, err error) {
	if status > 0 {
		s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if events > 0 {
		s.span.SetAttributes(attribute.Int("sluice.events", events))
	}
	switch {
	case err != nil:
		s.span.SetStatus(codes.Error, err.Error())
	case status >= 500:
		s.span.SetStatus(codes.Error, strconv.Itoa(status))
	}
	s.span.End()
}

// recorded counts recorded spans.
type recorded struct{ spans prometheus.Counter }

// OnStart implements [sdk.SpanProcessor].
func (recorded) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements [sdk.SpanProcessor].
func (r recorded) OnEnd(s sdk.ReadOnlySpan) {
	if s.SpanContext().IsSampled() {
		r.spans.Inc()
	}
}

// Shutdown implements [sdk.SpanProcessor].
func (recorded) Shutdown(context.Context) error { return nil }

// ForceFlush implements [sdk.SpanProcessor].
func (recorded) ForceFlush(context.Context) error { return nil }

// outgoingSpans counts the spans that are sent, and logs errors.
type outgoingSpans struct {
	sdk.SpanExporter
	log   *slog.Logger
	spans *prometheus.CounterVec
	said  seldom.Lines
}

// ExportSpans implements [sdk.SpanExporter]. It returns no error, because the library would print it outside of
// the log.
func (c *outgoingSpans) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		c.spans.WithLabelValues("sent").Add(float64(len(spans)))
		return nil
	}
	c.spans.WithLabelValues("failed").Add(float64(len(spans)))
	c.said.Warn(c.log, "export", "traces are not taken by their receiver", "error", strings.TrimSpace(err.Error()))
	return nil
}
