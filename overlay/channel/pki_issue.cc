// Keys, certificates and files made: the writing half of pki.h.
#include "overlay/channel/openssl.h"
#include "overlay/channel/pki.h"

#include <openssl/pem.h>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>

namespace homeport::overlay::pki {
namespace {

using boost::system::errc::invalid_argument;
using openssl::CertificatePtr;
using openssl::KeyPtr;
using openssl::NumberPtr;
using policy::Error;
using policy::Result;

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

constexpr int kSerialBits = 159;  // positive and at most 20 octets: RFC 5280, section 4.1.2.2

Error openssl_failure(const std::string& what) {
  return policy::make_error(invalid_argument,
                            fmt::format("cannot {}: {}", what, openssl::last_error()));
}

bool set_random_serial(X509& certificate) {
  NumberPtr number(BN_new());
  return number && BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(&certificate)) != nullptr;
}

bool set_validity(X509& certificate, const Validity& validity) {
  auto seconds = [](std::chrono::sys_seconds time) {
    return static_cast<std::time_t>(time.time_since_epoch().count());
  };
  return ASN1_TIME_adj(X509_getm_notBefore(&certificate), seconds(validity.not_before), 0, 0) &&
         ASN1_TIME_adj(X509_getm_notAfter(&certificate), seconds(validity.not_after), 0, 0);
}

bool set_common_name(X509& certificate, std::string_view name) {
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(&certificate), NID_commonName,
                                    MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(name.data()),
                                    static_cast<int>(name.size()), -1, 0) == 1;
}

/// `value` in the notation of x509v3_config(5).
bool add_extension(X509& certificate, X509& issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, &issuer, &certificate, nullptr, nullptr, 0);
  ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(&certificate, extension.get(), -1) == 1;
}

/// A version 3 certificate with everything but issuer, extensions and signature.
CertificatePtr begin_certificate(EVP_PKEY& key, std::string_view name, const Validity& validity) {
  CertificatePtr certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      !set_random_serial(*certificate) || !set_validity(*certificate, validity) ||
      !set_common_name(*certificate, name) || X509_set_pubkey(certificate.get(), &key) != 1) {
    return nullptr;
  }
  return certificate;
}

/// Creates `file`, which must not be there, and has `write` fill it.
template <class Write>
Result<void> create_file(const std::filesystem::path& file, mode_t mode, Write write) {
  int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) {
    std::string hint = errno == EEXIST ? " (move it away to make a new one)" : "";
    return policy::errno_error(fmt::format("cannot create {}{}", file.string(), hint));
  }
  std::FILE* stream = ::fdopen(fd, "w");
  bool good = write(stream);
  good = std::fflush(stream) == 0 && ::fsync(fd) == 0 && good;
  int error = errno;
  std::fclose(stream);
  if (!good) {
    ::unlink(file.c_str());
    return policy::errno_error(fmt::format("cannot write {}", file.string()), error);
  }
  return {};
}

Result<void> write_pair(const KeyPairFiles& files, EVP_PKEY& key, X509& certificate) {
  // The certificate last: where it is there, its key is there too.
  Result<void> written = create_file(files.private_key, 0600, [&](std::FILE* stream) {
    return PEM_write_PrivateKey(stream, &key, nullptr, nullptr, 0, nullptr, nullptr) == 1;
  });
  if (!written) return written;
  written = create_file(files.certificate, 0644, [&](std::FILE* stream) {
    return PEM_write_X509(stream, &certificate) == 1;
  });
  if (!written) ::unlink(files.private_key.c_str());
  return written;
}

}  // namespace

Result<void> create_ca(const KeyPairFiles& files, std::string_view name, const Validity& validity) {
  if (name.empty() || name.size() > 64) {
    return policy::make_error(invalid_argument, "a CA's name has 1 to 64 bytes");
  }
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return openssl_failure("make a key");
  CertificatePtr certificate = begin_certificate(*key, name, validity);
  if (!certificate ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get())) != 1 ||
      !add_extension(*certificate, *certificate, NID_basic_constraints,
                     "critical,CA:TRUE,pathlen:0") ||
      !add_extension(*certificate, *certificate, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !add_extension(*certificate, *certificate, NID_subject_key_identifier, "hash") ||
      X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0) {
    return openssl_failure("make the CA certificate");
  }
  return write_pair(files, *key, *certificate);
}

Result<void> issue_host_certificate(const KeyPairFiles& ca, const HostCertificateRequest& request,
                                    const KeyPairFiles& files) {
  std::string alternative_names = "DNS:" + request.host;
  // The names go into a list that OpenSSL parses: a comma would add what nobody asked for.
  if (!valid_host_name(request.host)) {
    return policy::make_error(invalid_argument,
                              fmt::format("'{}' is not a host name: 1 to 63 letters, digits, '-', "
                                          "'_', '.', the first a letter or digit",
                                          request.host));
  }
  for (const std::string& name : request.dns_names) {
    if (!valid_host_name(name)) {
      return policy::make_error(invalid_argument, fmt::format("'{}' is not a DNS name", name));
    }
    alternative_names += ",DNS:" + name;
  }
  auto issuers = openssl::read_certificates(ca.certificate, "CA certificate");
  if (!issuers) return issuers.error();
  auto ca_key = openssl::read_private_key(ca.private_key);
  if (!ca_key) return ca_key.error();
  X509& issuer = *issuers->front();
  if (X509_check_private_key(&issuer, ca_key->get()) != 1) {
    (void)openssl::last_error();
    return policy::make_error(
        invalid_argument, fmt::format("the private key {} does not belong to the CA certificate {}",
                                      ca.private_key.string(), ca.certificate.string()));
  }
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return openssl_failure("make a key");
  CertificatePtr certificate = begin_certificate(*key, request.host, request.validity);
  if (!certificate ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(&issuer)) != 1 ||
      !add_extension(*certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(*certificate, issuer, NID_key_usage, "critical,digitalSignature") ||
      !add_extension(*certificate, issuer, NID_ext_key_usage, "serverAuth,clientAuth") ||
      !add_extension(*certificate, issuer, NID_subject_alt_name, alternative_names) ||
      !add_extension(*certificate, issuer, NID_subject_key_identifier, "hash") ||
      !add_extension(*certificate, issuer, NID_authority_key_identifier, "keyid") ||
      X509_sign(certificate.get(), ca_key->get(), EVP_sha256()) == 0) {
    return openssl_failure(fmt::format("make the certificate of {}", request.host));
  }
  return write_pair(files, *key, *certificate);
}

}  // namespace homeport::overlay::pki
