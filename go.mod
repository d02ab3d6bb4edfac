module pegasus

go 1.26

require (
	github.com/BurntSushi/toml v1.6.0
	github.com/anishathalye/porcupine v1.3.1
	github.com/bytedance/sonic v1.15.5
	github.com/cockroachdb/datadriven v1.0.3
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	github.com/hashicorp/raft v1.7.3
	github.com/hashicorp/raft-boltdb/v2 v2.3.1
	github.com/linxGnu/grocksdb v1.7.14
	github.com/panjf2000/gnet/v2 v2.10.0
	github.com/uber-go/tally/v4 v4.1.17
	go.uber.org/goleak v1.3.0
	go.uber.org/zap v1.28.0
	pgregory.net/rapid v1.3.0
)
