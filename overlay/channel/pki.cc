#include "overlay/channel/pki.h"

#include "overlay/channel/openssl.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace homeport::overlay::pki {
namespace {

using boost::system::errc::invalid_argument;
using policy::Result;

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

/// All common names of a distinguished name.
std::vector<std::string> common_names(const X509_NAME* name) {
  std::vector<std::string> found;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0;) {
    found.push_back(text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at))));
  }
  return found;
}

std::string first_or_none(const std::vector<std::string>& names) {
  return names.empty() ? "" : names.front();
}

std::chrono::sys_seconds time_of(const ASN1_TIME* time) {
  std::tm fields{};
  ASN1_TIME_to_tm(time, &fields);
  return std::chrono::sys_seconds(std::chrono::seconds(timegm(&fields)));
}

std::string serial_of(const X509& certificate) {
  openssl::NumberPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(&certificate), nullptr));
  std::string text;
  if (char* hex = number ? BN_bn2hex(number.get()) : nullptr; hex != nullptr) {
    text = hex;
    OPENSSL_free(hex);
  }
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::vector<std::string> dns_names_of(const X509& certificate) {
  std::vector<std::string> found;
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DNS) found.push_back(text_of(name->d.dNSName));
  }
  GENERAL_NAMES_free(names);
  return found;
}

bool alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

Validity Validity::for_days(int days) {
  auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return {now - std::chrono::hours(24), now + std::chrono::days(days)};
}

bool valid_host_name(std::string_view name) {
  return !name.empty() && name.size() <= 63 && alphanumeric(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

std::string fingerprint(const X509& certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  X509_digest(&certificate, EVP_sha256(), digest.data(), &size);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

Result<std::string> common_name(const X509& certificate) {
  std::vector<std::string> names = common_names(X509_get_subject_name(&certificate));
  if (names.size() != 1) {
    return policy::make_error(
        invalid_argument,
        fmt::format("the certificate has {} common names, but needs one, the host's",
                    names.size()));
  }
  if (!valid_host_name(names.front())) {
    return policy::make_error(invalid_argument,
                              "the certificate's common name is not a host name (1 to 63 letters, "
                              "digits, '-', '_', '.')");
  }
  return names.front();
}

Result<CertificateInfo> read_certificate(const std::filesystem::path& file) {
  auto certificates = openssl::read_certificates(file, "certificate");
  if (!certificates) return certificates.error();
  X509& certificate = *certificates->front();
  return CertificateInfo{
      .common_name = first_or_none(common_names(X509_get_subject_name(&certificate))),
      .issuer_common_name = first_or_none(common_names(X509_get_issuer_name(&certificate))),
      .serial = serial_of(certificate),
      .sha256 = fingerprint(certificate),
      .dns_names = dns_names_of(certificate),
      .validity = {time_of(X509_get0_notBefore(&certificate)),
                   time_of(X509_get0_notAfter(&certificate))},
      .is_ca = X509_check_ca(&certificate) == 1,
  };
}

}  // namespace homeport::overlay::pki
