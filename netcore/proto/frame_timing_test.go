package proto

import "testing"

func BenchmarkParseTHFTGet(b *testing.B) {
	frame := getFrame()
	v1 := v1Frame(v1Meta(), frame[thft0HeaderLen:])
	for name, in := range map[string][]byte{"v0": frame, "v1": v1} {
		b.Run(name, func(b *testing.B) {
			var req Request
			b.ReportAllocs()
			for b.Loop() {
				if n, _, _ := ParseTHFT(in, 1<<20, &req); n == 0 {
					b.Fatal("not parsed")
				}
			}
		})
	}
}

func BenchmarkParseRDSNGet(b *testing.B) {
	frame := nativeFrame("\x0c\x00\x00\x00\x00\x00\x04\x00\x01hs\x00")
	var req Request
	b.ReportAllocs()
	for b.Loop() {
		if n, _, _ := ParseRDSN(frame, 1<<20, &req); n == 0 {
			b.Fatal("not parsed")
		}
	}
}

func BenchmarkAppendReply(b *testing.B) {
	buf := make([]byte, 0, 1024)
	to := ReplyTo{Code: CodeGet, Seq: 5}
	for _, e := range []ErrCode{ErrOK, ErrInvalidState} {
		b.Run(e.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out, mark := AppendReply(buf, &to, e, 0)
				buf = FinishReply(out, mark)[:0]
			}
		})
	}
}

func BenchmarkPeerFrame(b *testing.B) {
	body := make([]byte, 1024)
	buf := make([]byte, 0, 2048)
	var f PeerFrame
	b.ReportAllocs()
	for b.Loop() {
		out, mark := AppendPeerFrame(buf, PeerBeacon, 0, 1)
		out = FinishPeerFrame(append(out, body...), mark)
		if n, _, _ := ParsePeer(out, 1<<20, &f); n == 0 {
			b.Fatal("not parsed")
		}
	}
}

func BenchmarkKeyHash(b *testing.B) {
	for name, key := range map[string][]byte{"8": make([]byte, 8), "16": make([]byte, 16), "100": make([]byte, 100)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(key)))
			b.ReportAllocs()
			for b.Loop() {
				_ = KeyHash(key)
			}
		})
	}
}

func BenchmarkSchemaQueryCfg(b *testing.B) {
	res := QueryCfgResponse{AppID: 2, PartitionCount: 64, IsStateful: true}
	for i := range int32(64) {
		h := NewHostPort("localhost", 34801)
		res.Partitions = append(res.Partitions, PartitionConfiguration{PID: GPID{2, i}, Ballot: 3, MaxReplicaCount: 3,
			Primary: 1, Secondaries: []RPCAddress{1, 1}, HPPrimary: h, HPSecondaries: []HostPort{h, h}})
	}
	enc := Marshal(nil, &res)
	b.Run("Marshal", func(b *testing.B) {
		buf := make([]byte, 0, len(enc))
		b.ReportAllocs()
		for b.Loop() {
			_ = Marshal(buf, &res)
		}
	})
	b.Run("Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v QueryCfgResponse
			if err := Unmarshal(enc, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
