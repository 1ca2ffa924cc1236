// How `homeport pki` and `homeport db init` lay out a directory of certificates: ca.pem and ca.key,
// NAME.pem and NAME.key for each host, and "database" for the control database's server.
#pragma once

#include "overlay/channel/pki.h"

#include <filesystem>
#include <string>

namespace homeport::agent {

inline constexpr char kDatabaseCertificate[] = "database";

inline overlay::pki::KeyPairFiles pki_files(const std::filesystem::path& directory,
                                            const std::string& name) {
  return {directory / (name + ".pem"), directory / (name + ".key")};
}

inline overlay::pki::KeyPairFiles ca_files(const std::filesystem::path& directory) {
  return pki_files(directory, "ca");
}

}  // namespace homeport::agent
