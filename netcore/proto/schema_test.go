package proto

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

type everything struct {
	B    bool                `thrift:"1"`
	I8   int8                `thrift:"2"`
	I16  int16               `thrift:"3"`
	I32  AppStatus           `thrift:"4"`
	I64  Decree              `thrift:"5"`
	S    string              `thrift:"6"`
	Blob []byte              `thrift:"7"`
	Bin  []byte              `thrift:"8,string"`
	L    []ErrCode           `thrift:"9"`
	M    map[int32]string    `thrift:"10"`
	Set  map[GPID]struct{}   `thrift:"11"`
	In   struct{}            `thrift:"12"`
	Opt  *int32              `thrift:"13,opt"`
	G    GPID                `thrift:"14"`
	A    RPCAddress          `thrift:"15"`
	H    HostPort            `thrift:"16"`
	E    ErrCode             `thrift:"17"`
	C    Code                `thrift:"18"`
	N    NodeID              `thrift:"19"`
	MH   map[HostPort]string `thrift:"20,opt"`
	None string              // no tag: not part of the message
}

// The wire form of every type, byte for byte.
func TestSchemaBytes(t *testing.T) {
	v := everything{
		B: true, I8: -1, I16: 0x0102, I32: AppDropped, I64: -2, S: "ab", Blob: []byte{9}, Bin: []byte{8},
		L: []ErrCode{ErrOK}, M: map[int32]string{2: "y", -1: "x"}, Set: map[GPID]struct{}{{1, 2}: {}, {1, 1}: {}},
		Opt: new(int32(5)), G: GPID{1, 2}, A: 0x7f00000187f10001, H: NewHostPort("h", 0x87f1), E: ErrBusy, C: CodeGet,
		N: NodeID{15: 1}, MH: map[HostPort]string{NewHostPort("b", 1): "", NewHostPort("a", 2): "", NewHostPort("a", 1): ""},
	}
	want := strings.Join([]string{
		"02 0001 01", "03 0002 ff", "06 0003 0102", "08 0004 00000006", "0a 0005 fffffffffffffffe",
		"0b 0006 00000002 6162", "0c 0007 00000001 09", "0b 0008 00000001 08",
		"0f 0009 0c 00000001 00000006 4552525f4f4b",
		"0d 000a 08 0b 00000002 ffffffff 00000001 78 00000002 00000001 79",
		"0e 000b 0c 00000002 0000000100000001 0000000200000001",
		"0c 000c 00", "08 000d 00000005", "0c 000e 0000000200000001", "0c 000f 7f00000187f10001",
		"0c 0010 00000001 68 87f1 01", "0c 0011 00000008 4552525f42555359",
		"0c 0012 00000011 5250435f525244425f525244425f474554", "0c 0013 00000010 00000000000000000000000000000001",
		"0d 0014 0c 0b 00000003 00000001 61 0001 01 00000000 00000001 61 0002 01 00000000 00000001 62 0001 01 00000000",
		"00",
	}, "")
	want = strings.ReplaceAll(want, " ", "")
	got := Marshal(nil, &v)
	if hex.EncodeToString(got) != want {
		t.Fatalf("got\n%x, want\n%s", got, want)
	}
	var back everything
	if err := Unmarshal(append(got, "behind"...), &back); err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("%v\n got %+v\nwant %+v", err, back, v)
	}
	clear(got)
	if string(back.Blob) != "\x09" || back.S != "ab" {
		t.Error("the message refers to its input")
	}
}

// Unknown fields of any type and known ones of another type are passed over.
func TestSchemaSkips(t *testing.T) {
	type small struct {
		A int32  `thrift:"3"`
		B string `thrift:"5"`
	}
	b := AppendBool(AppendField(nil, TBool, 1), true)
	b = AppendBlob(AppendField(b, TString, 3), "not an int")
	b = AppendI32(AppendField(b, TI32, 3), 7)
	b = append(AppendField(b, TDouble, -4), 1, 2, 3, 4, 5, 6, 7, 8)
	b = append(AppendField(b, TStruct, 9), TI16, 0, 1, 0, 0, TStop)
	b = append(AppendField(b, TMap, 10), TByte, TI16, 0, 0, 0, 1, 1, 2, 2)
	b = append(AppendList(AppendField(b, TSet, 11), TBool, 2), 1, 0)
	b = AppendBlob(AppendField(b, TString, 5), "b")
	b = append(b, TStop)
	var v small
	if err := Unmarshal(b, &v); err != nil || v != (small{7, "b"}) {
		t.Errorf("%+v, %v", v, err)
	}
}

// The argument's field header is ignored, and what follows its stop byte.
func TestUnmarshalArgs(t *testing.T) {
	args := AppendArgs(nil, &ListNodesRequest{Status: NodeAlive}, 1)
	if hex.EncodeToString(args) != "0c0001"+"0800010000000100"+"00" {
		t.Errorf("%x", args)
	}
	copy(args, "\xff\xff\xff")
	var v ListNodesRequest
	if err := UnmarshalArgs(append(args, 1, 2, 3), &v); err != nil || v.Status != NodeAlive {
		t.Errorf("%+v, %v", v, err)
	}
	args[len(args)-1] = TBool
	if err := UnmarshalArgs(args, &v); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	if err := UnmarshalArgs(args[:2], &v); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	text := "unknown command"
	if got := AppendResult(nil, &text); string(got) != "\x0b\x00\x00\x00\x00\x00\x0funknown command\x00" {
		t.Errorf("%q", got)
	}
}

// Sizes that a message claims are not believed.
func TestSchemaGuards(t *testing.T) {
	list := func(field int16, typ, elem byte, size int32, rest int) []byte {
		b := append(AppendField(nil, typ, field), elem)
		if typ == TMap {
			b = append(b, elem)
		}
		return append(AppendI32(b, size), make([]byte, rest)...)
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"list larger than the message": {list(9, TList, TStruct, 1<<30, 10), ErrMalformed},
		"negative list":                {list(9, TList, TStruct, -1, 10), ErrMalformed},
		"set larger than the message":  {list(11, TSet, TStruct, 1<<30, 100), ErrMalformed},
		"map larger than the message":  {list(10, TMap, TI32, 1<<30, 100), ErrMalformed},
		"negative map":                 {list(10, TMap, TI32, -5, 100), ErrMalformed},
		"negative string":              {append(AppendI32(AppendField(nil, TString, 6), -1), 1, 2, 3), ErrMalformed},
		"string longer than the rest":  {append(AppendI32(AppendField(nil, TString, 6), 4), 1, 2, 3), ErrTruncated},
		"node id of 3 bytes":           {append(AppendBlob(AppendField(nil, TStruct, 19), "abc"), TStop), ErrMalformed},
		"unknown field of no type":     {append(AppendField(nil, 99, 90), TStop), ErrMalformed},
		"no stop":                      {nil, ErrTruncated},
	} {
		var v everything
		if err := Unmarshal(c.in, &v); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// A million empty structs of 200 bytes each in a message of one megabyte.
	b := append(list(2, TList, TStruct, 1<<20, 1<<20), TStop)
	var v ListAppsResponse
	if err := Unmarshal(b, &v); !errors.Is(err, ErrMalformed) || len(v.Infos) != 0 {
		t.Errorf("%d elements, %v", len(v.Infos), err)
	}
	// Unknown structs inside one another, deeper than any message.
	deep := AppendField(nil, TStruct, 99)
	for range 10000 {
		deep = AppendField(deep, TStruct, 1)
	}
	if err := Unmarshal(deep, &v); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

// Names that a newer peer may send read as the unknown ones.
func TestSchemaUnknownNames(t *testing.T) {
	type names struct {
		E ErrCode `thrift:"1"`
		C Code    `thrift:"2"`
	}
	b := AppendBlob(AppendField(nil, TStruct, 1), "ERR_OF_TOMORROW")
	b = AppendBlob(AppendField(b, TStruct, 2), "RPC_OF_TOMORROW")
	v := names{C: CodeGet}
	if err := Unmarshal(append(b, TStop), &v); err != nil || v != (names{E: ErrUnknown}) {
		t.Errorf("%+v, %v", v, err)
	}
	if got := Marshal(nil, &v); !strings.Contains(string(got), "TASK_CODE_INVALID") {
		t.Errorf("%q", got)
	}
}
