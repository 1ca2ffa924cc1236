#include "tests/lab/programs.h"

#include <cstdlib>

namespace homeport::lab {
namespace {

std::string program(const char* name, const char* built) {
  const char* elsewhere = std::getenv("HOMEPORT_BIN");
  return elsewhere != nullptr ? std::string(elsewhere) + "/" + name : built;
}

}  // namespace

std::string homeportd_program() {
  return program("homeportd", HOMEPORT_LAB_HOMEPORTD);
}
std::string homeport_program() {
  return program("homeport", HOMEPORT_LAB_HOMEPORT);
}
std::string held_homeportd_program() {
  return HOMEPORT_LAB_HELD_HOMEPORTD;
}
std::string newer_homeportd_program() {
  return HOMEPORT_LAB_NEWER_HOMEPORTD;
}
std::string apart_homeportd_program() {
  return HOMEPORT_LAB_APART_HOMEPORTD;
}

}  // namespace homeport::lab
