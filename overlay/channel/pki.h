// A small certificate authority for the hosts of one control database, behind `homeport pki`.
//
// Keys are EC P-256. A host certificate serves both ends of a TLS connection (extendedKeyUsage
// serverAuth and clientAuth), with the host's name as common name and DNS subjectAltName. Profile
// after RFC 5280. Any other CA serves as well if the CN is the host's name.
#pragma once

#include "policy/error.h"

#include <openssl/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::overlay::pki {

struct Validity {
  std::chrono::sys_seconds not_before;
  std::chrono::sys_seconds not_after;

  /// From a day ago, to allow for clocks that differ, until `days` days from now.
  static Validity for_days(int days);
};

/// A PEM certificate and its PEM private key (written with mode 0600).
struct KeyPairFiles {
  std::filesystem::path certificate;
  std::filesystem::path private_key;
};

struct HostCertificateRequest {
  std::string host;                    ///< CN and first DNS name; see valid_host_name()
  std::vector<std::string> dns_names;  ///< further subjectAltNames
  Validity validity;
};

struct CertificateInfo {
  std::string common_name;
  std::string issuer_common_name;
  std::string serial;  ///< lower-case hexadecimal
  std::string sha256;  ///< fingerprint
  std::vector<std::string> dns_names;
  Validity validity;
  bool is_ca = false;
};

/// Makes a self-signed CA named `common_name` and writes both files. Nothing is overwritten:
/// file_exists if either file is there. Parent directories must exist.
policy::Result<void> create_ca(const KeyPairFiles& files, std::string_view common_name,
                               const Validity& validity);

/// Makes a key and a certificate for a host, signed by the CA in `ca`. Nothing is overwritten.
policy::Result<void> issue_host_certificate(const KeyPairFiles& ca,
                                            const HostCertificateRequest& request,
                                            const KeyPairFiles& files);

/// What the first certificate in a PEM file says.
policy::Result<CertificateInfo> read_certificate(const std::filesystem::path& certificate);

/// SHA-256 of the DER form, 64 lower-case hexadecimal digits: what the control database's
/// Host.certificate_sha256 holds.
std::string fingerprint(const X509& certificate);

/// The subject's one common name; an error if there is none, more than one, or not a host name.
policy::Result<std::string> common_name(const X509& certificate);

/// 1 .. 63 characters of letters, digits, '-', '_' and '.', beginning with a letter or digit.
bool valid_host_name(std::string_view name);

}  // namespace homeport::overlay::pki
