module github.com/sluicehq/sluice/test/bench

go 1.26.8

require github.com/sluicehq/sluice v0.0.0

replace github.com/sluicehq/sluice => ../..
