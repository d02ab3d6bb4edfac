// Package prometheus holds what Prometheus needs to watch a cluster: a sample configuration and alert rules. There is no code in
// it but tests, which run the real programs against a real cluster. The dashboard beside it, conf/grafana/pegasus.json, is
// tested here, too: it needs the same metrics.
package prometheus
