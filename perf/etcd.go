package perf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// Etcd drives an etcd server over its gRPC API. gRPC is HTTP/2, which the standard library speaks: a unary call is a POST whose
// body is a byte for "not compressed", the length of the message as u32 and the message; its outcome is in the trailers
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). That and a handful of protobuf fields
// (etcd api/etcdserverpb/rpc.proto) are less than what the official client would pull into this module. It costs the client
// about what that one does; the server cannot tell them apart.
type Etcd struct{ Address string }

// Name implements Driver.
func (d *Etcd) Name() string { return "etcd" }

// Supports implements Driver: etcd has no counters, and a scan that goes on where the last request ended is not one of its own.
func (d *Etcd) Supports(k Kind) bool { return k != Incr && k != TableScan }

// Servers implements Driver.
func (d *Etcd) Servers(ctx context.Context) []Server {
	client := http.Client{Timeout: versionTimeout}
	defer client.CloseIdleConnections()
	return []Server{{Address: d.Address, Version: "etcd " + version(ctx, &client, d.Address)}}
}

type etcdConn struct {
	http http.Client
	base string
}

// Dial implements Driver. The HTTP client connects when it has something to send; the one made here only shows that it can.
func (d *Etcd) Dial(ctx context.Context, _ int) (Conn, error) {
	var dialer net.Dialer
	probe, err := dialer.DialContext(ctx, "tcp", d.Address)
	if err != nil {
		return nil, err
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &etcdConn{
		http: http.Client{Transport: &http.Transport{Protocols: &protocols, MaxConnsPerHost: 1}},
		base: "http://" + d.Address + "/etcdserverpb.KV/",
	}, nil
}

func (c *etcdConn) Close() { c.http.CloseIdleConnections() }

func (c *etcdConn) Slot() Slot { return &etcdSlot{conn: c} }

type etcdSlot struct {
	conn      *etcdConn
	op        *Op
	frame     []byte
	msg       []byte
	inner     []byte
	key, stop []byte
}

func (s *etcdSlot) Blocks() bool { return true }

func (s *etcdSlot) Start(op *Op) {
	s.op = op
	op.Done(s.call())
}

// Fields of the messages, as protobuf tags (number << 3 | wire type).
const (
	rangeKey, rangeEnd, rangeLimit = 1<<3 | 2, 2<<3 | 2, 3<<3 | 0
	rangeCount                     = 4<<3 | 0 // of RangeResponse
	putKey, putValue               = 1<<3 | 2, 2<<3 | 2
	txnCompare, txnSuccess         = 1<<3 | 2, 2<<3 | 2
	opRange, opPut                 = 1<<3 | 2, 2<<3 | 2 // of RequestOp
	compareResult, compareTarget   = 1<<3 | 0, 2<<3 | 0
	compareKey, compareVersion     = 3<<3 | 2, 4<<3 | 0
	compareGreater, targetVersion  = 1, 0
	txnSucceeded                   = 2<<3 | 0 // of TxnResponse
)

func (s *etcdSlot) call() (miss bool, err error) {
	op := s.op
	m := s.msg[:0]
	method, found := "Txn", byte(0)
	switch op.Kind {
	case Get:
		method, found = "Range", rangeCount
		m = appendField(m, rangeKey, s.keyOf(0))
	case Scan:
		method, found = "Range", rangeCount
		m = appendField(m, rangeKey, s.keyOf(0))
		s.stop = append(op.sortKey(append(s.stop[:0], op.HashKey...), op.N-1), 0)
		m = appendField(m, rangeEnd, s.stop)
		m = binary.AppendUvarint(append(m, rangeLimit), uint64(op.N))
	case Put, Insert:
		method = "Put"
		m = appendField(appendField(m, putKey, s.keyOf(0)), putValue, op.Value(0))
	case MultiGet:
		for i := range op.N {
			s.inner = appendField(s.inner[:0], rangeKey, s.keyOf(i))
			m = appendRequestOp(m, opRange, s.inner)
		}
	case MultiPut:
		for i := range op.N {
			s.inner = appendField(appendField(s.inner[:0], putKey, s.keyOf(i)), putValue, op.Value(i))
			m = appendRequestOp(m, opPut, s.inner)
		}
	case CheckAndSet:
		found = txnSucceeded
		s.inner = append(s.inner[:0], compareResult, compareGreater, compareTarget, targetVersion)
		s.inner = append(appendField(s.inner, compareKey, s.keyOf(0)), compareVersion, 0)
		m = appendField(m, txnCompare, s.inner)
		s.inner = appendField(appendField(s.inner[:0], putKey, s.keyOf(0)), putValue, op.Value(0))
		m = appendRequestOp(m, opPut, s.inner)
	default:
		return false, errUnsupported
	}
	s.msg = m
	reply, err := s.send(method)
	if err != nil || found == 0 {
		return false, err
	}
	return !hasNumber(reply, found), nil
}

func (s *etcdSlot) keyOf(i int) []byte {
	s.key = s.op.flatKey(s.key[:0], i)
	return s.key
}

func appendField(dst []byte, tag byte, value []byte) []byte {
	return append(binary.AppendUvarint(append(dst, tag), uint64(len(value))), value...)
}

// appendRequestOp appends one operation of a transaction: a field of a message in a field.
func appendRequestOp(dst []byte, tag byte, msg []byte) []byte {
	head := binary.AppendUvarint([]byte{tag}, uint64(len(msg)))
	dst = binary.AppendUvarint(append(dst, txnSuccess), uint64(len(head)+len(msg)))
	return append(append(dst, head...), msg...)
}

// hasNumber tells whether a message has a varint field with a value other than 0.
func hasNumber(msg []byte, tag byte) bool {
	for len(msg) > 0 {
		t, n := binary.Uvarint(msg)
		if n <= 0 {
			return false
		}
		v, m := binary.Uvarint(msg[n:])
		if m <= 0 {
			return false
		}
		msg = msg[n+m:]
		switch t & 7 {
		case 0:
			if t == uint64(tag) {
				return v != 0
			}
		case 2:
			if v > uint64(len(msg)) {
				return false
			}
			msg = msg[v:]
		default:
			return false // none of the messages that are read here has others
		}
	}
	return false
}

// maxEtcdReply bounds a reply, in bytes.
const maxEtcdReply = 64 << 20

// replyBuffers are shared by all slots, as most are idle or waiting.
var replyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// send makes one unary call. The reply is valid until the slot's next one.
func (s *etcdSlot) send(method string) ([]byte, error) {
	s.frame = append(s.frame[:0], 0)
	s.frame = binary.BigEndian.AppendUint32(s.frame, uint32(len(s.msg)))
	s.frame = append(s.frame, s.msg...)
	req, err := http.NewRequest(http.MethodPost, s.conn.base+method, bytes.NewReader(s.frame))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := s.conn.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	buf := replyBuffers.Get().(*bytes.Buffer)
	defer replyBuffers.Put(buf)
	buf.Reset()
	if _, err := buf.ReadFrom(io.LimitReader(resp.Body, maxEtcdReply)); err != nil {
		return nil, err
	}
	status := resp.Trailer.Get("Grpc-Status")
	if status == "" { // an error without a body has it among the headers
		status = resp.Header.Get("Grpc-Status")
	}
	if resp.StatusCode != http.StatusOK || status != "0" {
		return nil, fmt.Errorf("etcd: %s, gRPC status %q: %s%s", resp.Status, status, resp.Trailer.Get("Grpc-Message"), resp.Header.Get("Grpc-Message"))
	}
	if b := buf.Bytes(); len(b) >= 5 && int(binary.BigEndian.Uint32(b[1:])) == len(b)-5 {
		s.inner = append(s.inner[:0], b[5:]...)
		return s.inner, nil
	}
	return nil, errors.New("etcd: bad gRPC frame")
}
