#include <cachier/key.hpp>
namespace cachier {
std::string display_key(Bytes key, std::string_view, std::size_t) {
  return std::string(as_text(key));
}
}  // namespace cachier
