package pxe

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// responder decides what to answer to DHCP messages. It holds no state.
type responder struct {
	address netip.Addr        // of this server
	loaders map[string]string // file by kind: bios, x64, arm64, ia32
	base    string            // http://address:port, for HTTP Boot and iPXE; empty without HTTP
	tftp    bool              // there is a TFTP service
}

const (
	dhcpPort = 67
	bootPort = 4011
)

// client reads what a message says of its sender; ok is false if it is no request of a machine that wants to start from
// the network.
func client(m *dhcpv4.DHCPv4) (c Client, ok bool) {
	if m.OpCode != dhcpv4.OpcodeBootRequest || len(m.ClientHWAddr) != 6 {
		return c, false
	}
	c.MAC = m.ClientHWAddr.String()
	c.UUID = machineUUID(m.Options.Get(dhcpv4.OptionClientMachineIdentifier))
	if a := m.Options.Get(dhcpv4.OptionClientSystemArchitectureType); len(a) >= 2 {
		c.Arch, c.Known = Arch(uint16(a[0])<<8|uint16(a[1])), true
	}
	// iPXE sends its user class bare, others with the length of RFC 3004 in front; 175 is iPXE's own option.
	class := string(m.Options.Get(dhcpv4.OptionUserClassInformation))
	c.IPXE = class == "iPXE" || class == "\x04iPXE" || m.Options.Has(dhcpv4.GenericOptionCode(175))
	id := m.ClassIdentifier()
	return c, strings.HasPrefix(id, "PXEClient") || strings.HasPrefix(id, "HTTPClient") || c.IPXE
}

// reply makes the answer to a message that came to the given port, or says why there is none.
func (r responder) reply(m *dhcpv4.DHCPv4, c Client, port int) (answer *dhcpv4.DHCPv4, why string) {
	kind := dhcpv4.MessageTypeOffer
	switch t := m.MessageType(); {
	case port == dhcpPort && t == dhcpv4.MessageTypeDiscover:
	case port == bootPort && (t == dhcpv4.MessageTypeRequest || t == dhcpv4.MessageTypeInform):
		kind = dhcpv4.MessageTypeAck
	case t == dhcpv4.MessageTypeRequest:
		if m.RequestedIPAddress() == nil || m.ServerIdentifier() == nil {
			return nil, "goes on using its address"
		}
		return nil, fmt.Sprintf("takes the address %s from the DHCP server %s", m.RequestedIPAddress(), m.ServerIdentifier())
	default:
		return nil, fmt.Sprintf("%s on port %d is for the DHCP server", t, port)
	}
	file, why := r.file(c)
	if file == "" {
		return nil, why
	}
	class := "PXEClient"
	if c.Arch.http() && !c.IPXE {
		class = "HTTPClient"
	}
	ip := net.IP(r.address.AsSlice())
	modifiers := []dhcpv4.Modifier{
		dhcpv4.WithReply(m), dhcpv4.WithMessageType(kind), dhcpv4.WithServerIP(ip),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(ip)), dhcpv4.WithOption(dhcpv4.OptClassIdentifier(class)),
		dhcpv4.WithOptionCopied(m, dhcpv4.OptionClientMachineIdentifier),
	}
	if c.Arch == BIOS && !c.IPXE && class == "PXEClient" {
		// Discovery control 8: no menu, no search for boot servers, just take the file. UEFI firmware ignores an offer with
		// it on some boards, and without it asks again on port 4011.
		modifiers = append(modifiers, dhcpv4.WithGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{6, 1, 8, 255}))
	}
	answer, err := dhcpv4.New(modifiers...)
	if err != nil {
		return nil, err.Error()
	}
	answer.ClientIPAddr = m.ClientIPAddr
	answer.ServerHostName = r.address.String()
	// The field holds 127 characters; what is longer goes into the option alone.
	if len(file) < 128 {
		answer.BootFileName = file
	}
	if class == "HTTPClient" || c.IPXE || len(file) >= 128 {
		answer.UpdateOption(dhcpv4.OptBootFileName(file))
	}
	return answer, "is told to start"
}

// bootFile is what an answer names.
func bootFile(m *dhcpv4.DHCPv4) string {
	if name := m.BootFileNameOption(); name != "" {
		return name
	}
	return m.BootFileName
}

// file is what a client starts: the loader for its architecture, or for iPXE the script.
func (r responder) file(c Client) (file, why string) {
	if c.IPXE {
		if r.base == "" {
			return "", "iPXE wants a script, and HTTP is off"
		}
		return r.base + "/" + ScriptName + "?mac=" + c.MAC + "&uuid=" + c.UUID, ""
	}
	kind := loaderKind(c.Arch)
	name := r.loaders[kind]
	switch {
	case kind == "" || !c.Known:
		return "", fmt.Sprintf("nothing for %s", c.Arch)
	case name == "":
		return "", fmt.Sprintf("no loader for %s in the folder", c.Arch)
	case c.Arch.http() && r.base == "":
		return "", "it wants HTTP, and HTTP is off"
	case c.Arch.http():
		return r.base + "/" + name, ""
	case !r.tftp:
		return "", "it wants TFTP, and TFTP is off"
	}
	return name, ""
}

func loaderKind(a Arch) string {
	switch a {
	case BIOS:
		return "bios"
	case X64, X64EBC, X64HTTP, EBCHTTP:
		return "x64"
	case ARM64, ARM64HTTP:
		return "arm64"
	case IA32, IA32HTTP:
		return "ia32"
	}
	return ""
}

// destination is where the answer goes: through the relay, to the address the client has, or to everybody.
func destination(m *dhcpv4.DHCPv4, peer *net.UDPAddr, port int) *net.UDPAddr {
	switch {
	case m.GatewayIPAddr != nil && !m.GatewayIPAddr.IsUnspecified():
		return &net.UDPAddr{IP: m.GatewayIPAddr, Port: dhcpPort}
	case port == bootPort && peer.IP != nil && !peer.IP.IsUnspecified():
		return peer
	case m.ClientIPAddr != nil && !m.ClientIPAddr.IsUnspecified():
		return &net.UDPAddr{IP: m.ClientIPAddr, Port: 68}
	}
	return &net.UDPAddr{IP: net.IPv4bcast, Port: 68}
}
