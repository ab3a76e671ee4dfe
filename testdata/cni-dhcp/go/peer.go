// A client and a server of net/rpc that speak of the same things as the dhcp plugin and its daemon, in other words: fields that are
// missing, that are unknown, in another order. Run by crates/cni-dhcp/tests/go.rs.
package main

import (
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"time"
)

// The messages of the reference.

type CmdArgs struct {
	ContainerID, Netns, IfName, Args, Path, NetnsOverride string
	StdinData                                             []byte
}

type Result struct {
	CNIVersion string
	Interfaces []*Interface
	IPs        []*IPConfig
	Routes     []*Route
	DNS        DNS
}

type Interface struct {
	Name, Mac                  string
	Mtu                        int
	Sandbox, SocketPath, PciID string
}

type IPConfig struct {
	Interface *int
	Address   net.IPNet
	Gateway   net.IP
}

type Route struct {
	Dst                   net.IPNet
	GW                    net.IP
	MTU, AdvMSS, Priority int
	Table, Scope          *int
}

type DNS struct {
	Nameservers     []string
	Domain          string
	Search, Options []string
}

// Fields that came later, of every kind of type that gob has, around those that are known, in another order.
type Later struct {
	Float       float64
	StdinData   []byte
	Complex     complex128
	Tree        *Tree
	IfName      string
	Map         map[string][]Tree
	Any         any
	Anys        []any
	Time        time.Time
	Netns       string
	Array       [3]int8
	Empty       []struct{}
	Bools       []bool
	Maps        map[int]map[uint]string
	ContainerID string
	Last        *Tree
}

type Tree struct {
	Name     string
	Children []*Tree
	Any      any
}

// Most of the fields are missing.
type Earlier struct {
	StdinData   []byte
	ContainerID string
}

// A result that says more, and less.
type LaterResult struct {
	Lease  map[string]time.Time
	Routes []LaterRoute
	IPs    []LaterIP
}

type LaterRoute struct {
	GW      net.IP
	Dst     net.IPNet
	Nexthop []Route
}

type LaterIP struct {
	Gateway  net.IP
	Lifetime time.Duration
	Address  net.IPNet
}

func later() *Later {
	tree := &Tree{Name: "a", Children: []*Tree{{Name: "b", Any: Tree{Name: "c"}}, {}}}
	return &Later{
		Float: -1.5, StdinData: []byte(`{"name":"lan"}`), Complex: complex(1, -1), Tree: tree, IfName: "eth0",
		Map: map[string][]Tree{"x": {*tree, {}}}, Any: *tree, Anys: []any{1, "x", Tree{Name: "d"}}, Time: time.Unix(1, 0),
		Netns: "/run/netns/pod", Array: [3]int8{-1, 0, 1}, Empty: make([]struct{}, 3), Bools: []bool{true, false},
		Maps: map[int]map[uint]string{-1: {1: "y"}}, ContainerID: "c2", Last: tree,
	}
}

func client(path string) error {
	client, err := rpc.DialHTTP("unix", path)
	if err != nil {
		return err
	}
	for _, args := range []any{
		&CmdArgs{"c1", "/run/netns/pod", "eth0", "IgnoreUnknown=1", "/opt/cni/bin", "1", []byte(`{"name":"lan"}`)},
		later(),
		&Earlier{StdinData: make([]byte, 3000), ContainerID: "c3"},
		&CmdArgs{},
		later(),
	} {
		var result Result
		err := client.Call("DHCP.Allocate", args, &result)
		text, _ := json.Marshal(map[string]any{"result": result, "error": fmt.Sprint(err)})
		fmt.Println(string(text))
	}
	fmt.Println(client.Call("DHCP.Release", &CmdArgs{ContainerID: "c1"}, &struct{}{}))
	fmt.Println(client.Call("DHCP.GC", &CmdArgs{}, &struct{}{}))
	return client.Close()
}

type DHCP struct{}

func (DHCP) Allocate(args *CmdArgs, result *Result) error {
	if args.ContainerID == "bad" {
		return fmt.Errorf("no lease for %q", args.Netns)
	}
	one, zero, scope := 1, 0, 253
	_, v4, _ := net.ParseCIDR("10.9.0.0/24")
	_, v6, _ := net.ParseCIDR("fd00::/64")
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	*result = Result{
		CNIVersion: "1.1.0",
		Interfaces: []*Interface{{Name: "eth0", Mac: "02:00:00:00:09:02", Mtu: 1400, Sandbox: args.Netns, PciID: "0000:00:01.0"}, {}},
		IPs: []*IPConfig{
			{Interface: &one, Address: net.IPNet{IP: net.ParseIP("10.9.0.50"), Mask: v4.Mask}, Gateway: net.ParseIP("10.9.0.1")},
			{Interface: &zero, Address: net.IPNet{IP: net.ParseIP("fd00::5"), Mask: v6.Mask}},
		},
		Routes: []*Route{
			{Dst: *all, GW: net.IP{10, 9, 0, 1}, MTU: 1400, AdvMSS: 1360, Priority: 100, Table: &one, Scope: &scope},
			{Dst: *v6, GW: net.ParseIP("fd00::1")},
		},
		DNS: DNS{Nameservers: []string{"10.9.0.1", "fd00::1"}, Domain: "lan", Search: []string{"a", "b"}, Options: []string{"ndots:1"}},
	}
	return nil
}

func (DHCP) Later(args *CmdArgs, result *LaterResult) error {
	_, v4, _ := net.ParseCIDR("10.9.0.0/24")
	*result = LaterResult{
		Lease:  map[string]time.Time{"end": time.Unix(1, 0)},
		Routes: []LaterRoute{{GW: net.IP{10, 9, 0, 1}, Dst: *v4, Nexthop: []Route{{Dst: *v4}}}},
		IPs:    []LaterIP{{Gateway: net.IP{10, 9, 0, 1}, Lifetime: time.Hour, Address: net.IPNet{IP: net.IP{10, 9, 0, 50}, Mask: v4.Mask}}},
	}
	return nil
}

// Prints what it was given, so that the test sees it.
func (DHCP) Release(args *CmdArgs, _ *struct{}) error {
	text, err := json.Marshal(args)
	fmt.Println(string(text))
	return err
}

func server(path string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	if err := rpc.Register(DHCP{}); err != nil {
		return err
	}
	rpc.HandleHTTP()
	return http.Serve(listener, nil)
}

func main() {
	gob.Register(Tree{})
	run := map[string]func(string) error{"client": client, "server": server}[os.Args[1]]
	if err := run(os.Args[2]); err != nil {
		log.Fatal(err)
	}
}
