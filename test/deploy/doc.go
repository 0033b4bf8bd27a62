// Package deploy tests what is shipped beside the program, in configs/deploy: the image,
// the Compose files, the chart, the unit of systemd, dashboards and rules.
package deploy
