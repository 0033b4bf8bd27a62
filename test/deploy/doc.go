// Package deploy tests the files in configs/deploy: the image, the Compose files, the chart, the systemd
// unit, dashboards and rules.
package deploy
