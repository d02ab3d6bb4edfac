package proto

import (
	"strings"
	"testing"
)

// The names of replies to names without a handler, as recorded.
func TestReplyNames(t *testing.T) {
	for name, want := range map[string]string{
		"RPC_RRDB_RRDB_GET":                 "RPC_RRDB_RRDB_GET_ACK",
		"RPC_NO_SUCH_CODE":                  "RPC_NO_SUCH_CODE_ACK",
		"":                                  "_ACK",
		"RPC_RRDB_RRDB_GET_ACK":             "RPC_RRDB_RRDB_GET",
		"RPC_NO_SUCH_CODE_ACK":              "RPC_NO_SUCH_CODE_ACK_ACK",
		"LPC_PEGASUS_SERVER_DELAY":          "TASK_CODE_INVALID",
		"TASK_CODE_INVALID":                 "TASK_CODE_INVALID_ACK",
		strings.Repeat("a", 42):             strings.Repeat("a", 42) + "_ACK",
		strings.Repeat("a", 44):             strings.Repeat("a", 44) + "_AC",
		strings.Repeat("a", 46):             strings.Repeat("a", 46) + "_",
		strings.Repeat("a", 47):             strings.Repeat("a", 47),
		strings.Repeat("a", 64):             strings.Repeat("a", 47),
		"cut at\x00the NUL":                 "cut at_ACK",
		"RPC_RRDB_RRDB_GET_ACK\x00whatever": "RPC_RRDB_RRDB_GET",
	} {
		var req Request
		req.setName([]byte(name))
		req.Seq = 0xffffffffffffffff
		out := AppendErrorReply(nil, &req, ErrHandlerNotFound, 0)
		var r Reply
		if n, _, err := ParseReply(out, 1000, &r); n != len(out) || err != nil {
			t.Fatalf("%q: n=%d of %d, %v", name, n, len(out), err)
		}
		if string(r.Name) != want || r.Code() != ErrHandlerNotFound || r.Seq != -1 || len(r.Body) != 0 {
			t.Errorf("%q: answered as %q %q %d, want %q", name, r.Name, r.Err, r.Seq, want)
		}
		frame := nativeFrame("")
		clear(frame[rdsnName:rdsnCode])
		copy(frame[rdsnName:rdsnCode], name)
		if _, _, err := ParseRDSN(frame, 1000, &req); err != nil {
			t.Fatal(err)
		}
		out = AppendErrorReply(nil, &req, ErrHandlerNotFound, 0)
		if got := string(cutName(out[rdsnName:rdsnCode])); got != want || out[rdsnCode-1] != 0 {
			t.Errorf("native %q: answered as %q, want %q", name, got, want)
		}
	}
}

// goClientNames are the error names that the Go client can decode.
const goClientNames = "ERR_OK ERR_UNKNOWN ERR_REPLICATION_FAILURE ERR_APP_EXIST ERR_APP_NOT_EXIST ERR_APP_DROPPED " +
	"ERR_BUSY_CREATING ERR_BUSY_DROPPING ERR_EXPIRED ERR_LOCK_ALREADY_EXIST ERR_HOLD_BY_OTHERS ERR_RECURSIVE_LOCK " +
	"ERR_NO_OWNER ERR_NODE_ALREADY_EXIST ERR_INCONSISTENT_STATE ERR_ARRAY_INDEX_OUT_OF_RANGE ERR_SERVICE_NOT_FOUND " +
	"ERR_SERVICE_ALREADY_RUNNING ERR_IO_PENDING ERR_TIMEOUT ERR_SERVICE_NOT_ACTIVE ERR_BUSY ERR_NETWORK_INIT_FAILED " +
	"ERR_FORWARD_TO_OTHERS ERR_OBJECT_NOT_FOUND ERR_HANDLER_NOT_FOUND ERR_LEARN_FILE_FAILED ERR_GET_LEARN_STATE_FAILED " +
	"ERR_INVALID_VERSION ERR_INVALID_PARAMETERS ERR_CAPACITY_EXCEEDED ERR_INVALID_STATE ERR_INACTIVE_STATE " +
	"ERR_NOT_ENOUGH_MEMBER ERR_FILE_OPERATION_FAILED ERR_HANDLE_EOF ERR_WRONG_CHECKSUM ERR_INVALID_DATA " +
	"ERR_INVALID_HANDLE ERR_INCOMPLETE_DATA ERR_VERSION_OUTDATED ERR_PATH_NOT_FOUND ERR_PATH_ALREADY_EXIST " +
	"ERR_ADDRESS_ALREADY_USED ERR_STATE_FREEZED ERR_LOCAL_APP_FAILURE ERR_BIND_IOCP_FAILED ERR_NETWORK_START_FAILED " +
	"ERR_NOT_IMPLEMENTED ERR_CHECKPOINT_FAILED ERR_WRONG_TIMING ERR_NO_NEED_OPERATE ERR_CORRUPTION ERR_TRY_AGAIN " +
	"ERR_CLUSTER_NOT_FOUND ERR_CLUSTER_ALREADY_EXIST ERR_SERVICE_ALREADY_EXIST ERR_INJECTED ERR_NETWORK_FAILURE " +
	"ERR_UNDER_RECOVERY ERR_OPERATION_DISABLED ERR_ZOOKEEPER_OPERATION ERR_CHILD_REGISTERED ERR_INGESTION_FAILED " +
	"ERR_UNAUTHENTICATED ERR_KRB5_INTERNAL ERR_SASL_INTERNAL ERR_SASL_INCOMPLETE ERR_ACL_DENY ERR_SPLITTING " +
	"ERR_PARENT_PARTITION_MISUSED ERR_CHILD_NOT_READY ERR_DISK_INSUFFICIENT"

func TestWireSafe(t *testing.T) {
	known := map[string]bool{}
	for _, n := range strings.Fields(goClientNames) {
		known[n] = true
	}
	for e := range errCodeCount {
		safe := e.WireSafe()
		if !known[safe.String()] {
			t.Errorf("%v is sent as %v, which the Go client does not know", e, safe)
		}
		if known[e.String()] && safe != e {
			t.Errorf("%v is sent as %v without need", e, safe)
		}
		if (safe == ErrOK) != (e == ErrOK) {
			t.Errorf("%v is sent as %v", e, safe)
		}
		var r Reply
		if _, _, err := ParseReply(AppendErrorReply(nil, &Request{Code: CodeGet}, e, 0), 1000, &r); err != nil || r.Code() != safe {
			t.Errorf("%v: sent as %q, %v", e, r.Err, err)
		}
	}
}

func TestReplyAllocates(t *testing.T) {
	buf := make([]byte, 0, 1024)
	req := Request{Code: CodeGet, Seq: 9}
	to := req.ReplyTo()
	unknown := Request{Name: []byte("RPC_NO_SUCH_CODE")}
	if n := testing.AllocsPerRun(100, func() {
		out, mark := AppendReply(buf, &to, ErrOK, 0)
		out = FinishReply(append(out, TStop), mark)
		out, mark = AppendReply(out, &to, ErrInvalidState, 0)
		out = FinishReply(out, mark)
		out = AppendErrorReply(out, &unknown, ErrHandlerNotFound, 0)
		out, mark = AppendRequest(out, CodeGet, GPID{1, 2}, 3, 4, 5)
		_ = FinishRequest(out, mark)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var native Request
	if _, _, err := ParseRDSN(nativeFrame(""), 1000, &native); err != nil {
		t.Fatal(err)
	}
	nativeTo := native.ReplyTo()
	if n := testing.AllocsPerRun(100, func() {
		out, mark := AppendReply(buf, &nativeTo, ErrOK, 1)
		_ = FinishReply(out, mark)
	}); n != 0 {
		t.Errorf("native: %v allocations", n)
	}
}
