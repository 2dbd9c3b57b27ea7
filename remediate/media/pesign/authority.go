package pesign

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
)

// Authority is a certificate authority that firmware knows.
type Authority string

// Microsoft's Secure Boot authorities. Windows boot managers are signed by the two Windows ones; loaders of others,
// such as Linux distributions, by the UEFI ones.
const (
	WindowsPCA2011  Authority = "Microsoft Windows Production PCA 2011"
	WindowsUEFI2023 Authority = "Windows UEFI CA 2023"
	UEFI2011        Authority = "Microsoft Corporation UEFI CA 2011"
	UEFI2023        Authority = "Microsoft UEFI CA 2023"
	OptionROM2023   Authority = "Microsoft Option ROM UEFI CA 2023"
)

// SHA-256 of the certificates, as Microsoft publishes them in its repository secureboot_objects.
var fingerprints = map[string]Authority{
	"e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961": WindowsPCA2011,
	"076f1fea90ac29155ebf77c17682f75f1fdd1be196da302dc8461e350a9ae330": WindowsUEFI2023,
	"48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507": UEFI2011,
	"f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901": UEFI2023,
	"e5be3e64c6e66a281457ecdece0d6d0787577aad2a3a0144262c10c14ba8d8f1": OptionROM2023,
}

// authorityOf knows a certificate by its fingerprint; a name alone proves nothing.
func authorityOf(c *x509.Certificate) Authority {
	sum := sha256.Sum256(c.Raw)
	return fingerprints[hex.EncodeToString(sum[:])]
}
