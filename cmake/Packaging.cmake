# SPDX-License-Identifier: MIT
# `cmake --install` and `cpack`: one Debian package a program, chatchain-node and chatchain-client.
include(GNUInstallDirs)

foreach(program node client)
  if(TARGET chatchain-${program})
    install(TARGETS chatchain-${program} RUNTIME COMPONENT ${program})
  endif()
  # Absolute, because that is where an operator looks for it whatever the prefix is. The reference
  # file serves both programs, but a file belongs to one package: each has its copy.
  install(FILES config.toml DESTINATION /etc/chatchain RENAME ${program}.toml COMPONENT ${program})
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/chatchain-${program}
          RENAME copyright COMPONENT ${program})
endforeach()
install(FILES deploy/systemd/chatchain-node@.service DESTINATION lib/systemd/system COMPONENT node)
install(FILES deploy/systemd/chatchain-client.service DESTINATION lib/systemd/system
        COMPONENT client)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME chatchain)
set(CPACK_PACKAGE_VENDOR "The ChatChain authors")
set(CPACK_PACKAGE_CONTACT "The ChatChain authors <chatchain@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL node client)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_COMPONENT_NODE_DESCRIPTION
    "Node of ChatChain, a distributed chat message store\n One of several equal peers, each with its own database.")
set(CPACK_COMPONENT_CLIENT_DESCRIPTION
    "Proxy of ChatChain, a distributed chat message store\n Gives chat programs one address for all nodes.")
foreach(program node client)
  string(TOUPPER ${program} component)
  set(CPACK_DEBIAN_${component}_PACKAGE_NAME chatchain-${program})
  # Without this list an upgrade would overwrite the operator's configuration.
  set(control_dir "${CMAKE_CURRENT_BINARY_DIR}/deb-${program}")
  file(WRITE "${control_dir}/conffiles" "/etc/chatchain/${program}.toml\n")
  set(CPACK_DEBIAN_${component}_PACKAGE_CONTROL_EXTRA "${control_dir}/conffiles")
endforeach()
include(CPack)
