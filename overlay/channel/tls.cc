#include "overlay/channel/tls.h"

#include "overlay/channel/openssl.h"
#include "overlay/channel/pki.h"

#include <fmt/format.h>

namespace homeport::overlay {
namespace {

using boost::system::errc::invalid_argument;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Deleter<X509_STORE_CTX_free>>;

// AES-128 first: as strong as the P-256 keys are, and the fastest with AES-NI.
constexpr char kCipherSuites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

// One read() may fetch many 16 KiB records at once.
constexpr std::size_t kReadBuffer = 256 * 1024;

policy::Error openssl_failure(const std::string& what) {
  return policy::make_error(boost::system::errc::not_enough_memory,
                            fmt::format("{}: {}", what, openssl::last_error()));
}

/// The peer will check the same; said here, it names the file.
policy::Result<void> check_signed_by(SSL_CTX& context, X509& own, const TlsIdentity& identity) {
  StoreContextPtr check(X509_STORE_CTX_new());
  STACK_OF(X509)* intermediates = nullptr;
  SSL_CTX_get0_chain_certs(&context, &intermediates);
  if (!check || X509_STORE_CTX_init(check.get(), SSL_CTX_get_cert_store(&context), &own,
                                    intermediates) != 1) {
    return openssl_failure("cannot check the own certificate");
  }
  X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(check.get()), X509_V_FLAG_NO_CHECK_TIME);
  if (X509_verify_cert(check.get()) == 1) return {};
  int reason = X509_STORE_CTX_get_error(check.get());
  return policy::make_error(
      invalid_argument,
      fmt::format("the CA certificate {} does not vouch for the certificate {} ({}): use the CA "
                  "that issued it",
                  identity.ca_certificate.string(), identity.certificate.string(),
                  X509_verify_cert_error_string(reason)));
}

}  // namespace

struct TlsContext::Data {
  openssl::ContextPtr context;
  std::string host;
  std::string certificate_sha256;
};

policy::Result<TlsContext> TlsContext::load(const TlsIdentity& identity) {
  auto authorities = openssl::read_certificates(identity.ca_certificate, "CA certificate");
  if (!authorities) return authorities.error();
  auto chain = openssl::read_certificates(identity.certificate, "certificate");
  if (!chain) return chain.error();
  auto key = openssl::read_private_key(identity.private_key);
  if (!key) return key.error();
  auto host = pki::common_name(*chain->front());
  if (!host) return policy::with_context(identity.certificate.string(), host.error());

  auto data = std::make_shared<Data>();
  data->context.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* context = data->context.get();
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context, kCipherSuites) != 1) {
    return openssl_failure("cannot set up TLS 1.3");
  }
  for (const openssl::CertificatePtr& authority : *authorities) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1) {
      return openssl_failure("cannot use " + identity.ca_certificate.string());
    }
  }
  if (SSL_CTX_use_certificate(context, chain->front().get()) != 1) {
    return openssl_failure("cannot use " + identity.certificate.string());
  }
  for (std::size_t i = 1; i < chain->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, (*chain)[i].get()) != 1) {
      return openssl_failure("cannot use " + identity.certificate.string());
    }
  }
  if (SSL_CTX_use_PrivateKey(context, key->get()) != 1) {
    return policy::make_error(
        invalid_argument,
        fmt::format("the private key {} does not belong to the certificate {}",
                    identity.private_key.string(), identity.certificate.string()));
  }
  if (auto signed_by_ca = check_signed_by(*context, *chain->front(), identity); !signed_by_ca) {
    return signed_by_ca.error();
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // Channels live long: resumption would only be another way in.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, kReadBuffer);

  data->host = std::move(*host);
  data->certificate_sha256 = pki::fingerprint(*chain->front());
  return TlsContext(std::move(data));
}

const std::string& TlsContext::host() const {
  return data_->host;
}
const std::string& TlsContext::certificate_sha256() const {
  return data_->certificate_sha256;
}
SSL_CTX* TlsContext::native() const {
  return data_->context.get();
}

}  // namespace homeport::overlay
