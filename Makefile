# Names for the scripts; `make test ARGS=./gateway/...` passes arguments on.
.PHONY: build quick test soak bench counters
build:
	go build -o bin/sluice ./cmd/sluice
quick:
	scripts/test -quick $(ARGS)
test soak bench counters:
	scripts/$@ $(ARGS)
